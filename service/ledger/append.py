"""The way into the ledger: commands go through one SQL function, `ledger_append`, and come back as outcomes.

The function locks, checks and writes; what is here turns commands into arrays and rows into outcomes, and survives a
connection that breaks. A commit whose answer was lost is not reported as failed: each command goes through the door
once more, which looks under the stream's lock whether it is there already. Should the first sending have been held up
on its way and come after that, it fails on the command's id, which is unique. Where even asking again does not work,
the caller is told that the outcome is unknown, which is not the same as 'nothing was changed'.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine

from service.db.driver import ConnectionLost, driver_connection, driver_of
from service.db.transaction import translated
from service.errors import OutcomeUnknown, Refusal, Unavailable
from service.ledger.command import Appended, Command
from service.ledger.refusals import refusal

ASK_AGAIN_FOR = 5.0  # seconds: a database fails over in some, and a router waits no longer than thirty
ASK_AGAIN_PAUSE = 0.2

Outcome = Appended | Refusal

_COLUMNS = "ordinal, outcome, customer_id, seq, last_seq, balance_after, available, status_after"
_TYPES = (
    "uuid", "text", "uuid", "text", "numeric", "smallint", "text", "text", "text", "text", "bigint", "bigint", "text",
    "text",
)  # fmt: skip
_MANY = f"SELECT {_COLUMNS} FROM ledger_append({', '.join(f'%s::{t}[]' for t in _TYPES)}, %s, %s)"  # noqa: S608  constants
_ONE = f"SELECT {_COLUMNS} FROM ledger_append({', '.join(f'ARRAY[%s::{t}]' for t in _TYPES)}, %s, %s)"  # noqa: S608


def append(engine: Engine, commands: Sequence[Command], *, wait: bool = True, again: bool = False) -> list[Outcome]:
    """Carry out commands in one transaction: an outcome for each, in order.

    With `again`, those that were carried out before are found by their ids, and not repeated.

    Without `wait`, a command whose stream is locked elsewhere comes back as StreamBusy, and nothing is waited for.
    Where the connection broke and can't be made again, an outcome may be OutcomeUnknown. Raises Unavailable: nothing
    was written.
    """
    with suppress(ConnectionLost), translated(), driver_connection(engine) as connection:
        return _through_the_door(connection, commands, wait=wait, again=again)
    deadline = time.monotonic() + ASK_AGAIN_FOR
    return [_ask_again(engine, command, deadline) for command in commands]


def append_one(engine: Engine, command: Command) -> Appended:
    """Carry out one command. Raises its Refusal, or Unavailable."""
    return appended(append(engine, [command])[0])


def append_within(connection: Connection, commands: Sequence[Command]) -> list[Outcome]:
    """The same inside the transaction of `connection`, which decides whether it lasts."""
    return _through_the_door(driver_of(connection), commands, wait=True)


def _ask_again(engine: Engine, command: Command, deadline: float) -> Outcome:
    """What became of a command whose answer was lost; carried out now if it had not been."""
    while time.monotonic() < deadline:
        with suppress(Unavailable), translated(), driver_connection(engine) as connection:
            return _through_the_door(connection, [command], wait=True, again=True)[0]
        time.sleep(ASK_AGAIN_PAUSE)
    return OutcomeUnknown()


def appended(outcome: Outcome) -> Appended:
    """The outcome if it is a good one. Raises it otherwise."""
    if isinstance(outcome, Refusal):
        raise outcome
    return outcome


def _through_the_door(
    connection: psycopg.Connection, commands: Sequence[Command], *, wait: bool, again: bool = False
) -> list[Outcome]:
    rows = [_row(command) for command in commands]
    if len(rows) == 1:  # scalars cost the driver far less than arrays of one
        cursor = connection.execute(_ONE, (*rows[0], wait, again))
    else:
        cursor = connection.execute(_MANY, (*map(list, zip(*rows, strict=True)), wait, again))
    outcomes: dict[int, Outcome] = {row[0]: _outcome(commands[row[0] - 1], *row[1:]) for row in cursor.fetchall()}
    return [outcomes[ordinal] for ordinal in range(1, len(commands) + 1)]


def _row(command: Command) -> tuple[Any, ...]:
    return (
        command.caller.client_id,
        command.ref,
        command.id,
        command.kind.value,
        command.amount,
        command.status if command.status is None else int(command.status),
        command.why.reason,
        command.why.reference,
        command.caller.actor,
        command.caller.request_id,
        command.why.expected,
        command.refers_to,
        command.detail,
        command.caller.idempotency_key,
    )


def _outcome(
    command: Command,
    outcome: str,
    customer: int,
    seq: int,
    last_seq: int,
    balance: Decimal,
    available: Decimal,
    status: int,
) -> Outcome:
    if outcome == "appended":
        return Appended(customer, seq, last_seq, balance, available, status, command.kind)
    return refusal(outcome, command, customer, seq)
