"""What was paid in before: kept as history, without an effect on anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, text

from service.a2billing.batch import Batch, without_card
from service.a2billing.convert import Refill
from service.a2billing.report import Outcome, Remark, notes_of

CHANGED = "has changed since it was imported"


def bring_refills(tx: Connection, batch: Batch, refills: Sequence[Refill]) -> Outcome:
    """Write the refills that are new."""
    outcome = Outcome()
    ids = {"client": batch.client_id, "ids": [each.id for each in refills]}
    known = {row.refill_id: tuple(row)[1:] for row in tx.execute(_KNOWN, ids)}
    customers = batch.customers_of(tx, {each.card_id for each in refills})
    new = []
    for each in refills:
        if each.card_id not in customers:
            outcome.not_taken.append(without_card(each.id, each.card_id))
        elif each.id not in known:
            new.append(each)
        elif known[each.id] == _content(each, customers):
            outcome.there += 1
        else:
            outcome.not_taken.append(Remark(each.id, CHANGED))
    outcome.new, outcome.adjusted = len(new), notes_of(new)
    if new and not batch.dry:
        _write(tx, batch, new, customers)
    return outcome


def _content(refill: Refill, customers: Mapping[int, int]) -> tuple[object, ...]:
    customer = customers[refill.card_id]
    return customer, refill.refilled_at, refill.credit, refill.description, refill.refill_type


def _write(tx: Connection, batch: Batch, refills: Sequence[Refill], customers: Mapping[int, int]) -> None:
    tx.execute(
        _INSERT,
        {
            "client": batch.client_id,
            "ids": [each.id for each in refills],
            "customers": [customers[each.card_id] for each in refills],
            "dates": [each.refilled_at for each in refills],
            "credits": [each.credit for each in refills],
            "descriptions": [each.description for each in refills],
            "types": [each.refill_type for each in refills],
        },
    )


_KNOWN = text("""
    SELECT refill_id, customer_id, refilled_at, credit, description, refill_type FROM imported_refill
    WHERE client_id = :client AND refill_id = ANY(CAST(:ids AS bigint[]))
""")
_INSERT = text("""
    INSERT INTO imported_refill (client_id, refill_id, customer_id, refilled_at, credit, description, refill_type)
    SELECT :client, * FROM unnest(
        CAST(:ids AS bigint[]), CAST(:customers AS bigint[]), CAST(:dates AS timestamptz[]),
        CAST(:credits AS numeric[]), CAST(:descriptions AS text[]), CAST(:types AS int[]))
""")
