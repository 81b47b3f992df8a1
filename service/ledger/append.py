"""The way into the ledger: commands go through one SQL function, `ledger_append`, and come back as outcomes.

The function locks, checks and writes; what is here turns commands into arrays and rows into outcomes, and survives a
connection that breaks. A commit whose answer was lost is not reported as failed: the same commands go through the door
once more, which looks under the stream's lock whether they are there already (and which therefore waits until the
broken session has ended one way or the other).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

from sqlalchemy import Connection, Engine
from sqlalchemy import exc as sa

from service.db.transaction import single_statement, translated
from service.errors import AmbiguousReference, CustomerNotFound, Invalid, Refusal
from service.ledger.command import Appended, Caller, Command

Outcome = Appended | Refusal

_DOOR = """
SELECT ordinal, outcome, customer_id, seq, balance_after, status_after
FROM ledger_append(
    %s::uuid, %s::text[], %s::uuid[], %s::text[], %s::numeric[], %s::smallint[], %s::text[], %s::text[],
    %s::text, %s::text, %s::boolean
)
"""

_REFUSALS: dict[str, Callable[[Command], Refusal]] = {
    "not_found": lambda _: CustomerNotFound(),
    "ambiguous": lambda command: AmbiguousReference(command.ref),
    "not_exact": lambda _: Invalid("credit: at most 5 digits after the point"),
}


def append(engine: Engine, caller: Caller, commands: Sequence[Command]) -> list[Outcome]:
    """Carry out commands in one transaction: an outcome for each, in order. Raises Unavailable: ask again."""
    with translated():
        try:
            with single_statement(engine) as connection:
                return append_within(connection, caller, commands)
        except sa.DBAPIError as error:
            if not error.connection_invalidated:
                raise
        with single_statement(engine) as connection:
            return append_within(connection, caller, commands, again=True)


def append_one(engine: Engine, caller: Caller, command: Command) -> Appended:
    """Carry out one command. Raises its Refusal, or Unavailable."""
    return _appended(append(engine, caller, [command])[0])


def append_within(
    connection: Connection, caller: Caller, commands: Sequence[Command], *, again: bool = False
) -> list[Outcome]:
    """The same inside the transaction of `connection`, which decides whether it lasts."""
    parameters = (
        caller.client_id,
        [c.ref for c in commands],
        [c.id for c in commands],
        [c.kind.value for c in commands],
        [c.amount for c in commands],
        [None if c.status is None else int(c.status) for c in commands],
        [c.reason for c in commands],
        [c.reference for c in commands],
        caller.actor,
        caller.request_id,
        again,
    )
    rows = connection.exec_driver_sql(_DOOR, parameters).all()
    outcomes: dict[int, Outcome] = {row[0]: _outcome(commands[row[0] - 1], *row[1:]) for row in rows}
    return [outcomes[ordinal] for ordinal in range(1, len(commands) + 1)]


def _outcome(command: Command, outcome: str, customer: int, seq: int, balance: Decimal, status: int) -> Outcome:
    if outcome == "appended":
        return Appended(customer, seq, balance, status)
    return _REFUSALS[outcome](command)


def _appended(outcome: Outcome) -> Appended:
    if isinstance(outcome, Refusal):
        raise outcome
    return outcome
