"""Calls of A2Billing become call records. They are not charged: what they cost is in the imported credit already.

A2Billing writes one row for each leg of a call, all under one uniqueid; here a leg has a number. Each new row gets the
next free leg of its uniqueid, in the order of the rows' ids. A row that was brought before is known by its id, so that
neither a border between two pages nor a row that became visible late brings one twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text

from service.a2billing.batch import Batch, without_card
from service.a2billing.convert import CardCall
from service.a2billing.report import Outcome, Remark, notes_of
from service.calls.ingest import TAKE_LEGS
from service.db.driver import driver_of

CHANGED = "has changed since it was imported"
_Leg = tuple[str, int]


def bring_calls(tx: Connection, batch: Batch, calls: Sequence[CardCall]) -> Outcome:
    """Write the calls that are new. Their months have to have partitions."""
    outcome = Outcome()
    known = _known(tx, batch, calls)
    prints = {call.id: call.fingerprint() for call in calls}
    unknown = [call for call in calls if call.id not in known]
    customers = batch.customers_of(tx, {call.card_id for call in unknown})
    new = [call for call in unknown if call.card_id in customers]
    outcome.not_taken += [without_card(call.id, call.card_id) for call in unknown if call.card_id not in customers]
    changed = [call.id for call in calls if call.id in known and known[call.id] != prints[call.id]]
    outcome.not_taken += [Remark(call_id, CHANGED) for call_id in changed]
    outcome.adjusted += notes_of(new)
    outcome.new, outcome.there = len(new), len(known) - len(changed)
    if new and not batch.dry:
        _write(tx, batch, new, customers, prints)
    return outcome


def _known(tx: Connection, batch: Batch, calls: Sequence[CardCall]) -> dict[int, bytes]:
    """The fingerprints of those that were brought before."""
    rows = tx.execute(_KNOWN, {"client": batch.client_id, "ids": [call.id for call in calls]})
    return {row.call_id: row.fingerprint for row in rows}


def _write(
    tx: Connection, batch: Batch, calls: Sequence[CardCall], customers: Mapping[int, int], prints: Mapping[int, bytes]
) -> None:
    legs, ids = _take_legs(tx, batch, calls, prints)
    _copy(tx, _COPY_IMPORTED, ((batch.client_id, call.id, prints[call.id]) for call in calls))
    records = (
        (
            batch.client_id, ids[legs[call.id]], customers[call.card_id], *legs[call.id], call.source,
            call.destination, call.start_time, call.end_time, call.duration, call.amount, call.disposition,
        )
        for call in calls
    )  # fmt: skip
    _copy(tx, _COPY_RECORDS, records)


def _take_legs(
    tx: Connection, batch: Batch, calls: Sequence[CardCall], prints: Mapping[int, bytes]
) -> tuple[dict[int, _Leg], dict[_Leg, int]]:
    """The leg of each call by the call's id in A2Billing, and the new call's id by its leg.

    Whoever brings a call of the same uniqueid meanwhile, by the API, may be faster with a leg: then another is taken.
    """
    legs: dict[int, _Leg] = {}
    ids: dict[_Leg, int] = {}
    left = list(calls)
    while left:
        wanted = _next_legs(tx, batch, left)
        by_leg = {wanted[call.id]: call for call in left}
        order = sorted(by_leg)  # the order in which everybody takes legs, or two could wait for each other
        rows = tx.execute(
            TAKE_LEGS,
            {
                "client": batch.client_id,
                "uniqueids": [uniqueid for uniqueid, _ in order],
                "legs": [leg for _, leg in order],
                "fingerprints": [prints[by_leg[key].id] for key in order],
                "starts": [by_leg[key].start_time for key in order],
            },
        )
        ids.update({(row.uniqueid, row.leg): row.call_id for row in rows})
        legs.update({call.id: key for key, call in by_leg.items() if key in ids})
        left = [call for call in left if call.id not in legs]
    return legs, ids


def _next_legs(tx: Connection, batch: Batch, calls: Sequence[CardCall]) -> dict[int, _Leg]:
    """A leg for each call, in the order of their ids, from the lowest free one on. Where legs have gaps, those that
    follow may be taken; the first is free, so each turn takes one at least. Behind the highest there may be no number.
    """
    rows = tx.execute(_FREE_LEGS, {"client": batch.client_id, "uniqueids": list({call.uniqueid for call in calls})})
    free = {row.uniqueid: row.leg for row in rows}
    legs = {}
    for call in calls:
        leg = free.get(call.uniqueid, 0)
        legs[call.id] = (call.uniqueid, leg)
        free[call.uniqueid] = leg + 1
    return legs


def _copy(tx: Connection, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
    with driver_of(tx).cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


_KNOWN = text("""
    SELECT call_id, fingerprint FROM imported_call
    WHERE client_id = :client AND call_id = ANY(CAST(:ids AS bigint[]))
""")
_FREE_LEGS = text("""
    SELECT l.uniqueid, CASE
        WHEN count(*) = max(l.leg)::bigint + 1 THEN count(*)
        WHEN min(l.leg) > 0 THEN 0
        ELSE (SELECT min(a.leg) + 1 FROM call_leg a
              WHERE a.client_id = :client AND a.uniqueid = l.uniqueid AND NOT EXISTS (
                  SELECT FROM call_leg b
                  WHERE b.client_id = :client AND b.uniqueid = l.uniqueid AND b.leg = a.leg::bigint + 1))
    END AS leg
    FROM call_leg l
    WHERE l.client_id = :client AND l.uniqueid = ANY(CAST(:uniqueids AS text[])) GROUP BY l.uniqueid
""")
_COPY_IMPORTED = "COPY imported_call (client_id, call_id, fingerprint) FROM STDIN"
_COPY_RECORDS = """
    COPY call_record (client_id, id, customer_id, uniqueid, leg, source, destination, start_time, end_time, duration,
                      amount, disposition) FROM STDIN
"""
