"""Cards become customers: hundreds in one transaction, each with its opening event and its credit in one more.

A card's id is kept as the customer's wherever nobody in the whole database has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from sqlalchemy import Connection, text

from service.a2billing.batch import Batch
from service.a2billing.convert import Card
from service.a2billing.known_cards import Imported, bring_known, known_cards, remember
from service.a2billing.names import TakenNames
from service.a2billing.profile import profile_columns
from service.a2billing.report import Outcome, Remark, notes_of
from service.customers.create import told
from service.errors import Unavailable
from service.ledger.append import append_within, appended
from service.ledger.command import Command, Why, import_credit, open_account

# A higher id is no counter's. New ids begin above the highest that is kept, and JSON's readers hold numbers exactly up
# to 2**53: with this, nearly all of them are left.
KEPT_IDS_BELOW = 2**48


def bring_cards(tx: Connection, batch: Batch, cards: Sequence[Card]) -> Outcome:
    """Write the cards that are new, and what has changed of the others since they were brought."""
    known = known_cards(tx, batch, cards)
    outcome = bring_known(tx, batch, [(card, known[card.id]) for card in cards if card.id in known])
    fresh = _with_free_names(tx, batch, [card for card in cards if card.id not in known], outcome)
    outcome.new = len(fresh)
    outcome.adjusted += notes_of(fresh)
    if batch.dry:
        batch.rehearsal.cards.update(card.id for card in fresh)
        for card in fresh:
            batch.rehearsal.take(card.new.username, card.new.useralias)
    elif fresh:
        outcome.customers += _write(tx, batch, fresh)
    return outcome


def _with_free_names(tx: Connection, batch: Batch, cards: Sequence[Card], outcome: Outcome) -> list[Card]:
    """The cards whose names are nobody's; the others go into the outcome."""
    taken = TakenNames.among(tx, batch, [card.new for card in cards])
    fresh = []
    for card in cards:
        whose = taken.take(card.new)
        if whose is None:
            fresh.append(card)
        else:
            outcome.not_taken.append(Remark(card.id, whose))
    return fresh


def _write(tx: Connection, batch: Batch, cards: Sequence[Card]) -> list[int]:
    """The ids of the customers that the cards have become."""
    ids = _insert_customers(tx, batch, cards)
    streams = {"ids": ids, "statuses": [int(card.new.status) for card in cards]}
    tx.execute(_INSERT_STREAMS, {"client": batch.client_id, **streams})
    commands = [
        command for card, customer_id in zip(cards, ids, strict=True) for command in _opening(batch, card, customer_id)
    ]
    for outcome in append_within(tx, commands):
        appended(outcome)
    remember(tx, batch, [Imported.of(card, customer_id) for card, customer_id in zip(cards, ids, strict=True)])
    return ids


def _opening(batch: Batch, card: Card, customer_id: int) -> tuple[Command, Command]:
    """The customer is there, with nothing; then what it had, as one event that says where it comes from."""
    why = Why(f"imported from A2Billing, card {card.id}")
    return (
        open_account(batch.caller, customer_id, Decimal(0), card.new.status, told(card.new), why),
        import_credit(batch.caller, customer_id, card.new.credit, why),
    )


def _insert_customers(tx: Connection, batch: Batch, cards: Sequence[Card]) -> list[int]:
    """The new customers' ids, in the order of the cards. Raises Unavailable where others were faster with a name."""
    wished = [card.id for card in cards if 0 < card.id < KEPT_IDS_BELOW]
    used = set(tx.scalars(_USED_IDS, {"ids": wished}))
    kept = set(wished) - used
    # Above all cards, not only these: an id that is drawn now must not be that of a card on a later page.
    tx.execute(_IDS_ABOVE, {"id": max(kept | {batch.highest_card})})
    columns = {
        "ids": [card.id if card.id in kept else None for card in cards],
        "usernames": [card.new.username for card in cards],
        "aliases": [card.new.useralias for card in cards],
        "creditlimits": [card.new.creditlimit for card in cards],
        "notifications": [card.new.credit_notification for card in cards],
        **profile_columns([card.new for card in cards]),
    }
    rows = tx.execute(_INSERT_CUSTOMERS, {"client": batch.client_id, **columns})
    ids = {row.username: row.id for row in rows}
    if len(ids) < len(cards):
        raise Unavailable
    return [ids[card.new.username] for card in cards]


_USED_IDS = text("SELECT id FROM customer WHERE id = ANY(CAST(:ids AS bigint[]))")
_IDS_ABOVE = text("SELECT customer_ids_above(:id)")
_INSERT_CUSTOMERS = text("""
    INSERT INTO customer (client_id, id, username, useralias, creditlimit, credit_notification, activated, type_paid,
                          id_group, enableexpire, expiredays, creationdate, firstusedate, expirationdate, lastuse)
    SELECT :client, coalesce(id, nextval(pg_get_serial_sequence('customer', 'id'))), username, useralias, creditlimit,
           credit_notification, activated, type_paid, id_group, enableexpire, expiredays, coalesce(created, now()),
           first_use, expiration, last_use
    FROM unnest(
        CAST(:ids AS bigint[]), CAST(:usernames AS text[]), CAST(:aliases AS text[]), CAST(:creditlimits AS numeric[]),
        CAST(:notifications AS numeric[]), CAST(:activated AS bool[]), CAST(:types AS smallint[]),
        CAST(:groups AS bigint[]), CAST(:enableexpires AS smallint[]), CAST(:expiredays AS int[]),
        CAST(:created AS timestamptz[]), CAST(:first_uses AS timestamptz[]), CAST(:expirations AS timestamptz[]),
        CAST(:last_uses AS timestamptz[])
    ) AS card (id, username, useralias, creditlimit, credit_notification, activated, type_paid, id_group, enableexpire,
               expiredays, created, first_use, expiration, last_use)
    ON CONFLICT DO NOTHING
    RETURNING id, username
""")
_INSERT_STREAMS = text("""
    INSERT INTO stream (client_id, customer_id, status)
    SELECT :client, * FROM unnest(CAST(:ids AS bigint[]), CAST(:statuses AS smallint[]))
""")
