"""Calls come in: each is stored and charged once, in one transaction, through the ledger's door.

The order is what makes it exact, and free of deadlocks. First the legs, in the order of their keys: of two who bring
the same call, one waits for the other's commit and then finds it there. Then the charges, which lock the customers'
streams in their order. At last the records, whose trigger counts them. Nobody who has gone one step further waits for
what the step before locks.

A charge always goes through, also below the floor: the call has taken place. A call whose customer nobody knows is kept
without a charge, for `rematch` to find when its source has become somebody's caller id.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from service.calls.call import Key, NewCall, Stored
from service.errors import AmbiguousReference, Conflict, CustomerNotFound, Refusal
from service.ledger.append import append_within
from service.ledger.command import Appended, Caller, charge_call
from service.ledger.resolve import SEVERAL, resolve_refs

LOCK_TIMEOUT = "2s"  # how long a call waits for another request that brings the same one
MOST = 1_000  # calls of one transaction

Outcome = Stored | Refusal


@dataclass(frozen=True, slots=True)
class _Before:
    """What is known of a call that was brought before."""

    fingerprint: bytes
    call_id: int
    customer_id: int | None
    event_seq: int | None


def ingest(tx: Connection, caller: Caller, calls: Sequence[NewCall]) -> list[Outcome]:
    """Store and charge calls within a transaction; an outcome for each, in their order.

    Outcomes: Stored; Conflict for another call under the same key, or a charge that the balance has no room for;
    CustomerNotFound and AmbiguousReference where `customer` was given. Raises Unavailable.
    """
    if not calls:
        return []
    tx.execute(_PREPARE, {"timeout": LOCK_TIMEOUT, "moments": list({month_of(call) for call in calls})})
    customers = resolve_refs(tx, caller.client_id, (call.ref for call in calls))
    unfit = [_unfit(call, customers[call.ref]) for call in calls]
    first = {call.key: call for call, refusal in reversed(list(zip(calls, unfit, strict=True))) if refusal is None}
    ids = _take_legs(tx, caller.client_id, sorted(first.values(), key=lambda call: call.key))
    known = _charge(tx, caller, [first[key] for key in ids], customers, ids)
    _write(tx, caller.client_id, [each for each in known.values() if isinstance(each, Stored)])
    before = _brought_before(tx, caller.client_id, sorted(first.keys() - ids.keys()))
    outcomes: list[Outcome] = []
    for call, refusal in zip(calls, unfit, strict=True):
        if refusal is not None:
            outcomes.append(refusal)
        elif call.key in before:
            outcomes.append(_repeated(call, before[call.key]))
        else:
            outcomes.append(_within(call, first[call.key], known[call.key]))
    return outcomes


def month_of(call: NewCall) -> datetime:
    """A moment of the month (UTC) in whose partition a call lies."""
    return call.start_time.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _unfit(call: NewCall, customer: int) -> Refusal | None:
    """Why a call can't be taken: a customer that was named has to be one. Who is only not found may come later."""
    if call.customer is None or customer > 0:
        return None
    return AmbiguousReference(call.ref) if customer == SEVERAL else CustomerNotFound()


def _take_legs(tx: Connection, client_id: uuid.UUID, calls: Sequence[NewCall]) -> dict[Key, int]:
    """The calls that nobody has brought before, and the id that each has now."""
    if not calls:
        return {}
    rows = tx.execute(
        TAKE_LEGS,
        {
            "client": client_id,
            "uniqueids": [call.uniqueid for call in calls],
            "legs": [call.leg for call in calls],
            "fingerprints": [call.fingerprint() for call in calls],
            "starts": [call.start_time for call in calls],
        },
    )
    return {(row.uniqueid, row.leg): row.call_id for row in rows}


def _charge(
    tx: Connection, caller: Caller, calls: Sequence[NewCall], customers: Mapping[str, int], ids: Mapping[Key, int]
) -> dict[Key, Outcome]:
    """Charge those that have a customer. What the ledger refuses is as if it had not been brought."""
    owned = [call for call in calls if customers[call.ref] > 0]
    commands = [
        charge_call(caller, customers[call.ref], call.amount, call.told(), call.command_id(caller.client_id))
        for call in owned
    ]
    charged = dict(zip([call.key for call in owned], append_within(tx, commands) if commands else (), strict=True))
    failed = sorted(key for key, outcome in charged.items() if isinstance(outcome, Refusal))
    if failed:
        tx.execute(_GIVE_BACK, {"client": caller.client_id, **_columns(failed)})
    return {call.key: _stored(ids[call.key], call, charged.get(call.key)) for call in calls}


def _stored(call_id: int, call: NewCall, charged: Appended | Refusal | None) -> Outcome:
    if isinstance(charged, Refusal):
        return charged
    if charged is None:
        return Stored(call_id, call, None, None)
    return Stored(call_id, call, charged.customer_id, charged.seq, charged=charged)


def _write(tx: Connection, client_id: uuid.UUID, stored: Sequence[Stored]) -> None:
    if stored:
        tx.execute(
            _WRITE,
            {
                "client": client_id,
                "ids": [each.call_id for each in stored],
                "customers": [each.customer_id for each in stored],
                "events": [each.event_seq for each in stored],
                "uniqueids": [each.call.uniqueid for each in stored],
                "legs": [each.call.leg for each in stored],
                "sources": [each.call.source for each in stored],
                "destinations": [each.call.destination for each in stored],
                "starts": [each.call.start_time for each in stored],
                "ends": [each.call.end_time for each in stored],
                "durations": [each.call.duration for each in stored],
                "amounts": [each.call.amount for each in stored],
                "dispositions": [each.call.disposition for each in stored],
            },
        )


def _brought_before(tx: Connection, client_id: uuid.UUID, keys: Sequence[Key]) -> dict[Key, _Before]:
    """What was brought before, looked up in a statement of its own: it sees what was waited for."""
    if not keys:
        return {}
    legs = tx.execute(_LEGS, {"client": client_id, **_columns(keys)}).all()
    starts, ids = [leg.start_time for leg in legs], [leg.call_id for leg in legs]
    stretch = {"first": min(starts), "last": max(starts)}
    rows = tx.execute(_RECORDS, {"client": client_id, "starts": starts, "ids": ids, **stretch})
    owners = {row.id: row for row in rows}
    return {
        (leg.uniqueid, leg.leg): _Before(leg.fingerprint, leg.call_id, *_owner(owners.get(leg.call_id))) for leg in legs
    }


def _owner(row: Row[Any] | None) -> tuple[int | None, int | None]:
    """Whose a call is, by which event; of a month that was given up nobody knows any more."""
    return (None, None) if row is None else (row.customer_id, row.event_seq)


def _columns(keys: Sequence[Key]) -> dict[str, list[Any]]:
    return {"uniqueids": [uniqueid for uniqueid, _ in keys], "legs": [leg for _, leg in keys]}


def _repeated(call: NewCall, before: _Before) -> Outcome:
    """A call under a key that was there before this request."""
    if before.fingerprint != call.fingerprint():
        return _another(call)
    return Stored(before.call_id, call, before.customer_id, before.event_seq, duplicate=True)


def _within(call: NewCall, first: NewCall, outcome: Outcome) -> Outcome:
    """A call under a key that this very request has brought: its first with it, or one more."""
    if call is first or isinstance(outcome, Refusal):
        return outcome
    if call.fingerprint() != first.fingerprint():
        return _another(call)
    return replace(outcome, duplicate=True, charged=None)


def _another(call: NewCall) -> Conflict:
    return Conflict(f"uniqueid '{call.uniqueid}', leg {call.leg}: another call is known by it already")


_PREPARE = text("""
    SELECT set_config('lock_timeout', :timeout, true), call_record_ensure_month(moment)
    FROM unnest(CAST(:moments AS timestamptz[])) AS moment ORDER BY moment
""")
TAKE_LEGS = text("""
    INSERT INTO call_leg (client_id, uniqueid, leg, fingerprint, start_time, call_id)
    SELECT :client, uniqueid, leg, fingerprint, start_time, nextval('call_record_id')
    FROM unnest(CAST(:uniqueids AS text[]), CAST(:legs AS int[]), CAST(:fingerprints AS bytea[]),
                CAST(:starts AS timestamptz[])) WITH ORDINALITY
         AS given (uniqueid, leg, fingerprint, start_time, number)
    ORDER BY number
    ON CONFLICT DO NOTHING
    RETURNING uniqueid, leg, call_id
""")
_GIVE_BACK = text("""
    DELETE FROM call_leg l
    USING unnest(CAST(:uniqueids AS text[]), CAST(:legs AS int[])) AS failed (uniqueid, leg)
    WHERE l.client_id = :client AND l.uniqueid = failed.uniqueid AND l.leg = failed.leg
""")
_LEGS = text("""
    SELECT l.uniqueid, l.leg, l.fingerprint, l.call_id, l.start_time
    FROM unnest(CAST(:uniqueids AS text[]), CAST(:legs AS int[])) AS asked (uniqueid, leg)
    JOIN call_leg l ON l.client_id = :client AND l.uniqueid = asked.uniqueid AND l.leg = asked.leg
""")
# The bounds are for the planner: it leaves out, and does not lock, the months in which none of them can lie.
_RECORDS = text("""
    SELECT c.id, c.customer_id, c.event_seq
    FROM unnest(CAST(:starts AS timestamptz[]), CAST(:ids AS bigint[])) AS asked (start_time, id)
    JOIN call_record c ON c.client_id = :client AND c.start_time = asked.start_time AND c.id = asked.id
    WHERE c.start_time >= :first AND c.start_time <= :last
""")
_WRITE = text("""
    INSERT INTO call_record (client_id, id, customer_id, event_seq, uniqueid, leg, source, destination, start_time,
                             end_time, duration, amount, disposition)
    SELECT :client, * FROM unnest(
        CAST(:ids AS bigint[]), CAST(:customers AS bigint[]), CAST(:events AS bigint[]), CAST(:uniqueids AS text[]),
        CAST(:legs AS int[]), CAST(:sources AS text[]), CAST(:destinations AS text[]), CAST(:starts AS timestamptz[]),
        CAST(:ends AS timestamptz[]), CAST(:durations AS int[]), CAST(:amounts AS numeric[]),
        CAST(:dispositions AS text[]))
""")
