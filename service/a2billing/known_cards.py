"""A card that was brought before, and what A2Billing says of it now.

Credit, status and limits are the ledger's. Where A2Billing's value has changed, it takes the place of ours as long as
ours is still the one that was brought; what somebody has changed here meanwhile is left alone and told of. That is what
lets a first run be made days before the cut-over, and a second one behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import IntegrityError

from service.a2billing.batch import Batch
from service.a2billing.convert import Card
from service.a2billing.names import TakenNames
from service.a2billing.profile import profile_of, write_profiles
from service.a2billing.renewal import Expired, expired_among
from service.a2billing.report import Outcome, Remark, notes_of
from service.errors import Unavailable
from service.ledger.append import append_within, appended
from service.ledger.command import Command, Why, import_credit, set_limits, set_status
from service.ledger.event import Status

STRANGER = "another card was imported under its id"
CHANGED_HERE = "was changed here as well, and left"


@dataclass(frozen=True, slots=True)
class Imported:
    """A card as it was last brought, and the customer that it is here."""

    card_id: int
    customer_id: int
    username: str
    useralias: str
    credit: Decimal
    status: int
    creditlimit: Decimal | None
    credit_notification: Decimal | None
    profile: bytes

    @classmethod
    def of(cls, card: Card, customer_id: int) -> Imported:
        """The card as it is now."""
        new = card.new
        return cls(
            card.id, customer_id, new.username, new.useralias, new.credit, int(new.status), new.creditlimit,
            new.credit_notification, profile_of(new),
        )  # fmt: skip


LIMITS = ("creditlimit", "credit_notification")
LEDGERS_OWN = ("credit", "status", *LIMITS)
_Value = Decimal | int | None


@dataclass(slots=True)
class Plan:
    """What follows from one card's changes: what was brought then, what to ask the ledger for, what was left."""

    becomes: Imported
    commands: list[Command] = field(default_factory=list)
    left: list[Remark] = field(default_factory=list)


def known_cards(tx: Connection, batch: Batch, cards: Sequence[Card]) -> dict[int, Imported]:
    """Those of the cards that were brought before, as they were then."""
    rows = tx.execute(_KNOWN, {"client": batch.client_id, "ids": [card.id for card in cards]})
    return {row.card_id: Imported(*row) for row in rows}


def bring_known(tx: Connection, batch: Batch, pairs: Sequence[tuple[Card, Imported]]) -> Outcome:
    """Write what has changed of cards since they were brought."""
    outcome = Outcome()
    differing = []
    for card, before in pairs:
        now = Imported.of(card, before.customer_id)
        if now == before:
            outcome.there += 1
        elif now.username != before.username and now.useralias != before.useralias:
            batch.strangers.add(card.id)
            outcome.not_taken.append(Remark(card.id, STRANGER))
        else:
            differing.append((card, before, now))
    if differing:
        _change(tx, batch, differing, outcome)
    return outcome


def _change(
    tx: Connection, batch: Batch, differing: Sequence[tuple[Card, Imported, Imported]], outcome: Outcome
) -> None:
    heads = _heads(tx, batch, [now.customer_id for _, _, now in differing])
    expired = expired_among(tx, heads)
    plans = [_planned(batch, each, heads[each[1].customer_id], expired.get(each[1].customer_id)) for each in differing]
    _rename(tx, batch, [(card, before, each) for (card, before, _), each in zip(differing, plans, strict=True)])
    changed = [(card, each) for (card, before, _), each in zip(differing, plans, strict=True) if each.becomes != before]
    outcome.changed += len(changed)
    outcome.adjusted += notes_of(card for card, _ in changed)
    outcome.there += sum(
        each.becomes == before and not each.left for (_, before, _), each in zip(differing, plans, strict=True)
    )
    outcome.not_taken += [remark for each in plans for remark in each.left]
    if batch.dry or not changed:
        return
    commands = [command for each in plans for command in each.commands]
    for done in append_within(tx, commands) if commands else ():
        outcome.customers.append(appended(done).customer_id)
    profiles = {now.customer_id: card.new for card, before, now in differing if now.profile != before.profile}
    if profiles:
        write_profiles(tx, profiles)
    remember(tx, batch, [each.becomes for _, each in changed])


def _planned(batch: Batch, each: tuple[Card, Imported, Imported], head: Row[Any], expired: Expired | None) -> Plan:
    card, before, now = each
    active = now.status == before.status == Status.ACTIVE
    if expired is None or not active or not expired.is_renewed_by(card.new):
        return plan(batch, before, now, head)
    made = plan(batch, before, now, head, renewed=expired.by_itself)
    if not expired.by_itself:
        detail = f"status: {now.status} in A2Billing, which has renewed it, {head.status} here"
        made.left.append(Remark(card.id, f"status {CHANGED_HERE}", detail))
    return made


def plan(batch: Batch, before: Imported, now: Imported, head: Row[Any], *, renewed: bool = False) -> Plan:
    """What to do about a card that has changed. `head` is its customer's stream; who is `renewed` expired here by
    itself and is to be active again. Pure.
    """
    made = Plan(replace(now, **{name: getattr(before, name) for name in LEDGERS_OWN}))
    write: dict[str, _Value] = {"status": now.status} if renewed else {}
    for name in LEDGERS_OWN:
        value, then, here = getattr(now, name), getattr(before, name), getattr(head, name)
        if value == then:
            continue
        if here not in {then, value}:
            detail = f"{name}: {value} in A2Billing, {then} when it was imported, {here} here"
            made.left.append(Remark(now.card_id, f"{name} {CHANGED_HERE}", detail))
            continue
        made.becomes = replace(made.becomes, **{name: value})
        if here != value:
            write[name] = value
    made.commands = _commands(batch, now, head.last_seq, write)
    return made


def _commands(batch: Batch, now: Imported, seq: int, write: dict[str, _Value]) -> list[Command]:
    """Limits come last: a warning may follow on them, and each names the seq that the one before has led to."""
    caller, ref = batch.caller, f"id:{now.customer_id}"
    commands: list[Command] = []

    def why() -> Why:
        return Why(f"imported from A2Billing, card {now.card_id}", expected=seq + len(commands))

    if "credit" in write:
        commands.append(import_credit(caller, now.customer_id, now.credit, why()))
    if "status" in write:
        commands.append(set_status(caller, ref, Status(now.status), why()))
    limits: dict[str, Decimal | None] = {name: getattr(now, name) for name in LIMITS if name in write}
    if limits:
        commands.append(set_limits(caller, ref, limits, why()))
    return commands


def _rename(tx: Connection, batch: Batch, changed: Sequence[tuple[Card, Imported, Plan]]) -> None:
    """Give customers the names that their cards have now, where nobody else has them."""
    for card, before, made in changed:
        if (before.username, before.useralias) == (card.new.username, card.new.useralias):
            continue
        taken = TakenNames.among(tx, batch, [card.new])
        taken.usernames.discard(before.username)
        taken.aliases.discard(before.useralias)
        whose = taken.take(card.new)
        if whose is not None:
            made.becomes = replace(made.becomes, username=before.username, useralias=before.useralias)
            made.left.append(Remark(card.id, whose))
        elif batch.dry:
            batch.rehearsal.give_back(before.username, before.useralias)
            batch.rehearsal.take(card.new.username, card.new.useralias)
        else:
            names = {"id": before.customer_id, "username": card.new.username, "useralias": card.new.useralias}
            _execute_rename(tx, names)


def _execute_rename(tx: Connection, names: dict[str, Any]) -> None:
    try:
        tx.execute(_RENAME, names)
    except IntegrityError:  # somebody else was faster with a name, and the page is looked at again
        raise Unavailable from None


def _heads(tx: Connection, batch: Batch, customers: Sequence[int]) -> dict[int, Row[Any]]:
    """The streams' heads; in earnest locked, in the ledger's own order, so that what is planned still holds."""
    rows = tx.execute(_HEADS if batch.dry else _LOCK_HEADS, {"ids": list(customers)})
    return {row.customer_id: row for row in rows}


def remember(tx: Connection, batch: Batch, cards: Sequence[Imported]) -> None:
    """Write down what was brought."""
    columns = {name: [getattr(card, name) for card in cards] for name in Imported.__dataclass_fields__}
    tx.execute(_REMEMBER, {"client": batch.client_id, **columns})


_COLUMNS = "card_id, customer_id, username, useralias, credit, status, creditlimit, credit_notification, profile"
_KNOWN = text(f"""
    SELECT {_COLUMNS} FROM imported_card WHERE client_id = :client AND card_id = ANY(CAST(:ids AS bigint[]))
""")  # noqa: S608  constants
_HEADS = text("""
    SELECT customer_id, last_seq, balance AS credit, status, creditlimit, credit_notification
    FROM stream WHERE customer_id = ANY(CAST(:ids AS bigint[])) ORDER BY customer_id
""")
_LOCK_HEADS = text(f"{_HEADS.text} FOR UPDATE")
_RENAME = text("UPDATE customer SET username = :username, useralias = :useralias WHERE id = :id")
_REMEMBER = text(f"""
    INSERT INTO imported_card (client_id, {_COLUMNS})
    SELECT :client, * FROM unnest(
        CAST(:card_id AS bigint[]), CAST(:customer_id AS bigint[]), CAST(:username AS text[]),
        CAST(:useralias AS text[]), CAST(:credit AS numeric[]), CAST(:status AS smallint[]),
        CAST(:creditlimit AS numeric[]), CAST(:credit_notification AS numeric[]), CAST(:profile AS bytea[]))
    ON CONFLICT (client_id, card_id) DO UPDATE
    SET username = excluded.username, useralias = excluded.useralias, credit = excluded.credit,
        status = excluded.status, creditlimit = excluded.creditlimit,
        credit_notification = excluded.credit_notification, profile = excluded.profile, imported_at = now()
""")  # noqa: S608  constants
