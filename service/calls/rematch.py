"""Calls whose customer nobody knew when they came in: found again by their source, once it is somebody's caller id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, text

from service.calls.call import NewCall
from service.ledger.append import append_within
from service.ledger.command import Appended, Caller, Command, charge_call

MOST = 5_000  # calls of one transaction: a second of work, during which their customers' streams are locked


@dataclass(frozen=True, slots=True)
class Rematched:
    """The charges; how many calls the ledger refused; whether more are left for another request."""

    charged: Sequence[Appended]
    failed: int
    more: bool


def rematch(tx: Connection, caller: Caller, source: str | None = None, *, most: int = MOST) -> Rematched:
    """Charge the calls of one source, or of any, that have a customer by now, the oldest first. Raises Unavailable.

    What somebody else is just charging is skipped. Who asks until there are no more has charged each of them once;
    those that the ledger refuses are in nobody's way.
    """
    values = {"client": caller.client_id, "source": source, "limit": most, "start": "-infinity", "id": 0}
    failed = 0
    while True:
        found = tx.execute(_FIND, values).all()
        charged = _charge(tx, caller, found)
        failed += len(found) - len(charged)
        if charged or len(found) < most:
            return Rematched(charged, failed, more=len(found) == most)
        values |= {"start": found[-1].start_time, "id": found[-1].id}


def _charge(tx: Connection, caller: Caller, found: Sequence[Row[Any]]) -> list[Appended]:
    outcomes = append_within(tx, [_command(caller, row) for row in found]) if found else []
    charged = [(row, one) for row, one in zip(found, outcomes, strict=True) if isinstance(one, Appended)]
    if charged:
        tx.execute(_BY_INDEX)
        tx.execute(
            _SETTLE,
            {
                "client": caller.client_id,
                "starts": [row.start_time for row, _ in charged],
                "ids": [row.id for row, _ in charged],
                "customers": [one.customer_id for _, one in charged],
                "events": [one.seq for _, one in charged],
            },
        )
    return [one for _, one in charged]


def _command(caller: Caller, row: Row[Any]) -> Command:
    call = NewCall(
        row.uniqueid, row.source, row.destination, row.start_time, row.end_time, row.duration, row.amount, row.leg
    )
    return charge_call(caller, row.customer_id, call.amount, call.told(), call.command_id(caller.client_id))


# A key is one call's. What an earlier release stored twice under one key is charged for the call that has it.
_FIND = text("""
    SELECT c.start_time, c.id, c.uniqueid, c.leg, c.source, c.destination, c.end_time, c.duration, c.amount,
           k.customer_id
    FROM caller_id k
    JOIN call_record c ON c.client_id = k.client_id AND c.source = k.cid AND c.customer_id IS NULL
    JOIN call_leg l ON l.client_id = c.client_id AND l.uniqueid = c.uniqueid AND l.leg = c.leg AND l.call_id = c.id
    WHERE k.client_id = :client AND k.cid = coalesce(CAST(:source AS text), k.cid)
      AND (c.start_time, c.id) > (CAST(:start AS timestamptz), :id)
    ORDER BY c.start_time, c.id LIMIT :limit
    FOR UPDATE OF c SKIP LOCKED
""")
# A thousand rows look to the planner like a reason to read all months from end to end, since it prices every month for
# each row; when it runs, each row is looked for in its own.
_BY_INDEX = text("""
    SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
           set_config('enable_seqscan', 'off', true)
""")
_SETTLE = text("""
    UPDATE call_record c SET customer_id = settled.customer_id, event_seq = settled.event_seq
    FROM unnest(CAST(:starts AS timestamptz[]), CAST(:ids AS bigint[]), CAST(:customers AS bigint[]),
                CAST(:events AS bigint[])) AS settled (start_time, id, customer_id, event_seq)
    WHERE c.client_id = :client AND c.start_time = settled.start_time AND c.id = settled.id
""")
