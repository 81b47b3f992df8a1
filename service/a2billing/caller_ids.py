"""Caller ids of cards become caller ids of customers, each with an event in its customer's stream.

A number is one customer's at most. After cleaning, two of A2Billing's may be the same: the first has it, and the second
is told of, by every run alike, because each row that was brought is remembered by its id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, text

from service.a2billing.batch import Batch, without_card
from service.a2billing.convert import CardCallerId
from service.a2billing.report import Outcome, Remark, notes_of
from service.errors import Unavailable
from service.ledger.append import append_within, appended
from service.ledger.command import Why, add_caller_id

TAKEN = "cid is there already, after cleaning"
CHANGED = "has another cid or card than when it was imported"
CHANGED_HERE = "activated was changed here as well, or the cid moved, and left"


@dataclass(frozen=True, slots=True)
class _Here:
    """What there is already: rows that were brought, caller ids that somebody has, and the cards' customers."""

    brought: Mapping[int, Row[Any]]
    owned: Mapping[str, Row[Any]]
    customers: Mapping[int, int]


def bring_caller_ids(tx: Connection, batch: Batch, caller_ids: Sequence[CardCallerId]) -> Outcome:
    """Write the caller ids that are new, and `activated` where it has changed."""
    outcome = Outcome()
    here = _look_up(tx, batch, caller_ids)
    new, switched = _sorted_out(here, here.owned.keys() | batch.rehearsal.caller_ids, caller_ids, outcome)
    outcome.new, outcome.changed, outcome.adjusted = len(new), len(switched), notes_of([*new, *switched])
    if batch.dry:
        batch.rehearsal.caller_ids.update(each.cid for each in new)
        return outcome
    if switched:
        tx.execute(_SWITCH, {"client": batch.client_id, **_columns(switched)})
    if new:
        outcome.customers += _add(tx, batch, new, here.customers)
    return outcome


def _look_up(tx: Connection, batch: Batch, caller_ids: Sequence[CardCallerId]) -> _Here:
    ids, cids = [each.id for each in caller_ids], list({each.cid for each in caller_ids})
    return _Here(
        {row.callerid_id: row for row in tx.execute(_BROUGHT, {"client": batch.client_id, "ids": ids})},
        {row.cid: row for row in tx.execute(_OWNED, {"client": batch.client_id, "cids": cids})},
        batch.customers_of(tx, {each.card_id for each in caller_ids}),
    )


def _sorted_out(
    here: _Here, taken: set[str], caller_ids: Sequence[CardCallerId], outcome: Outcome
) -> tuple[list[CardCallerId], list[CardCallerId]]:
    """Those that are new and those whose `activated` has changed; all others go into the outcome."""
    new, switched = [], []
    for each in caller_ids:
        if each.card_id not in here.customers:
            outcome.not_taken.append(without_card(each.id, each.card_id))
        elif each.id in here.brought:
            if _is_switched(each, here, outcome):
                switched.append(each)
        elif each.cid in taken:
            outcome.not_taken.append(Remark(each.id, TAKEN))
        else:
            taken.add(each.cid)
            new.append(each)
    return new, switched


def _is_switched(now: CardCallerId, there: _Here, outcome: Outcome) -> bool:
    """Whether `activated`, and nothing else, has changed there and not here; anything else goes into the outcome."""
    before, here = there.brought[now.id], there.owned.get(now.cid)
    if (now.card_id, now.cid) != (before.card_id, before.cid):
        outcome.not_taken.append(Remark(now.id, CHANGED))
        return False
    if now.activated == before.activated:
        outcome.there += 1
        return False
    if here is None or here.customer_id != there.customers[now.card_id] or here.activated != before.activated:
        outcome.not_taken.append(Remark(now.id, CHANGED_HERE))
        return False
    return True


def _add(tx: Connection, batch: Batch, new: Sequence[CardCallerId], customers: Mapping[int, int]) -> list[int]:
    """The customers that have been given caller ids. Raises Unavailable where others were faster with a number."""
    owners = [customers[each.card_id] for each in new]
    if len(tx.execute(_INSERT, {"client": batch.client_id, "customers": owners, **_columns(new)}).all()) < len(new):
        raise Unavailable
    why = Why("imported from A2Billing")
    commands = [add_caller_id(batch.caller, owner, each.cid, why) for owner, each in zip(owners, new, strict=True)]
    return [appended(outcome).customer_id for outcome in append_within(tx, commands)]


def _columns(caller_ids: Sequence[CardCallerId]) -> dict[str, list[Any]]:
    return {
        "ids": [each.id for each in caller_ids],
        "cards": [each.card_id for each in caller_ids],
        "cids": [each.cid for each in caller_ids],
        "activated": [each.activated for each in caller_ids],
    }


_BROUGHT = text("""
    SELECT callerid_id, card_id, cid, activated FROM imported_caller_id
    WHERE client_id = :client AND callerid_id = ANY(CAST(:ids AS bigint[]))
""")
_OWNED = text("""
    SELECT cid, customer_id, activated FROM caller_id WHERE client_id = :client AND cid = ANY(CAST(:cids AS text[]))
""")
_INSERT = text("""
    WITH given AS (
        SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:cards AS bigint[]), CAST(:cids AS text[]),
                             CAST(:activated AS bool[]), CAST(:customers AS bigint[]))
                 AS row (callerid_id, card_id, cid, activated, customer_id)
    ), brought AS (
        INSERT INTO imported_caller_id (client_id, callerid_id, card_id, cid, activated)
        SELECT :client, callerid_id, card_id, cid, activated FROM given
    )
    INSERT INTO caller_id (client_id, cid, customer_id, activated)
    SELECT :client, cid, customer_id, activated FROM given ORDER BY cid
    ON CONFLICT DO NOTHING
    RETURNING cid
""")
_SWITCH = text("""
    WITH given AS (
        SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:cards AS bigint[]), CAST(:cids AS text[]),
                             CAST(:activated AS bool[])) AS row (callerid_id, card_id, cid, activated)
    ), brought AS (
        UPDATE imported_caller_id i SET activated = given.activated FROM given
        WHERE i.client_id = :client AND i.callerid_id = given.callerid_id
    )
    UPDATE caller_id c SET activated = given.activated FROM given WHERE c.client_id = :client AND c.cid = given.cid
""")
