"""A raw row of A2Billing becomes a value of ours, or the reason why it can't (Unfit). Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from service.a2billing.raw import RawCall, RawCallerId, RawCard, RawGroup, RawRefill
from service.a2billing.text import clean_number, clean_text
from service.a2billing.values import (
    BIGINT,
    INTEGER,
    Notes,
    Raw,
    Unfit,
    after,
    exact_money,
    flag,
    moment_of,
    rounded_money,
    whole,
)
from service.calls.call import EARLIEST
from service.clock import rfc3339
from service.customers.create import NewCustomer
from service.ledger.event import Status
from service.money import as_json

NAME_LENGTH = 50  # of usernames and aliases
CID_LENGTH = 100
UNIQUEID_LENGTH = 255  # it is a part of a key; A2Billing's own has 30
PREPAID, POSTPAID = 0, 1
EXPIRES_NEVER, EXPIRES_MOST = 0, 3
DISPOSITIONS = {1: "ANSWER", 2: "BUSY", 3: "NOANSWER", 4: "CANCEL", 5: "CONGESTION", 6: "CHANUNAVAIL"}

DATE_MADE_NULL = "date made null"


@dataclass(frozen=True, slots=True)
class Group:
    """A customer group."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Card:
    """A card as the customer that it becomes. `new` has the card's credit, and its id as the id that is wished for."""

    id: int
    new: NewCustomer
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CardCallerId:
    """A caller id of a card; `cid` is cleaned."""

    id: int
    card_id: int
    cid: str
    activated: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CardCall:
    """One leg of a call. `duration` in seconds, `amount` in credit units."""

    id: int
    card_id: int
    uniqueid: str
    source: str
    destination: str
    start_time: datetime
    end_time: datetime
    duration: int
    amount: Decimal
    disposition: str | None
    notes: tuple[str, ...] = ()

    def fingerprint(self) -> bytes:
        """SHA-256 of the row, its id included: two rows of A2Billing that say the same are still two."""
        content = (
            "a2billing", self.id, self.card_id, self.uniqueid, self.source, self.destination,
            rfc3339(self.start_time), rfc3339(self.end_time), self.duration, as_json(self.amount), self.disposition,
        )  # fmt: skip
        return hashlib.sha256(json.dumps(content).encode()).digest()


@dataclass(frozen=True, slots=True)
class Refill:
    """What was once paid in. `credit` in credit units; `refill_type` is A2Billing's code."""

    id: int
    card_id: int
    refilled_at: datetime | None
    credit: Decimal
    description: str
    refill_type: int | None
    notes: tuple[str, ...] = ()


def group_of(row: RawGroup, _: ZoneInfo) -> Group:
    """A group of cards."""
    return Group(row.id, clean_text(row.name))


def card_of(row: RawCard, zone: ZoneInfo) -> Card:
    """A card. Raises Unfit where its names, its credit or its status can't be ours."""
    notes = Notes()
    activated = _flag(row.activated, "activated", notes, missing=False)
    type_paid = _type_paid(row.typepaid, notes)
    new = NewCustomer(
        id=row.id,
        username=_name(row.username, "username"),
        useralias=_name(row.useralias, "useralias"),
        credit=exact_money(row.credit, "credit"),
        status=_status(row.status, activated),
        activated=activated,
        type_paid=type_paid,
        creditlimit=_credit_limit(row.creditlimit, type_paid, notes),
        credit_notification=_threshold(row.credit_notification),
        id_group=whole(row.id_group, "id_group", BIGINT),
        enableexpire=_enableexpire(row.enableexpire, notes),
        expiredays=whole(row.expiredays, "expiredays") or 0,
        creationdate=_date(row.creationdate, zone, notes),
        firstusedate=_date(row.firstusedate, zone, notes),
        expirationdate=_date(row.expirationdate, zone, notes),
        lastuse=_date(row.lastuse, zone, notes),
    )
    return Card(row.id, new, tuple(notes.said))


def caller_id_of(row: RawCallerId, _: ZoneInfo) -> CardCallerId:
    """A caller id. Raises Unfit for an empty one, and for one that is too long."""
    cid = clean_number(clean_text(row.cid))
    if not cid:
        raise Unfit("cid is empty")
    if len(cid) > CID_LENGTH:
        raise Unfit(f"cid is longer than {CID_LENGTH} characters")
    notes = Notes()
    activated = _flag(row.activated, "activated", notes, missing=True)
    return CardCallerId(row.id, _card(row.id_cc_card), cid, activated, tuple(notes.said))


def call_of(row: RawCall, zone: ZoneInfo) -> CardCall:
    """A call. Raises Unfit where it can't be told when it began, or how long it was."""
    notes = Notes()
    start = moment_of(row.starttime, zone)
    if start is None or start < EARLIEST:
        raise Unfit("starttime is no date, or before there was A2Billing")
    duration = whole(row.sessiontime, "sessiontime") or 0
    if duration < 0:
        raise Unfit("sessiontime is negative")
    end = moment_of(row.stoptime, zone, not_before=start)
    if end is None:
        end = after(start, duration)
        notes.add("stoptime worked out from sessiontime")
    uniqueid = clean_text(row.uniqueid).strip() or f"a2b-{row.id}"
    if len(uniqueid) > UNIQUEID_LENGTH:
        raise Unfit(f"uniqueid is longer than {UNIQUEID_LENGTH} characters")
    return CardCall(
        id=row.id,
        card_id=_card(row.card_id),
        uniqueid=uniqueid,
        source=clean_number(clean_text(row.src)),
        destination=clean_text(row.calledstation).strip(),
        start_time=start,
        end_time=end,
        duration=duration,
        amount=rounded_money(row.sessionbill, "sessionbill"),
        disposition=DISPOSITIONS.get(whole(row.terminatecauseid, "terminatecauseid", BIGINT) or 0),
        notes=tuple(notes.said),
    )


def refill_of(row: RawRefill, zone: ZoneInfo) -> Refill:
    """A refill. Raises Unfit where its credit is not exact."""
    notes = Notes()
    return Refill(
        id=row.id,
        card_id=_card(row.card_id),
        refilled_at=_date(row.date, zone, notes),
        credit=exact_money(row.credit, "credit"),
        description=clean_text(row.description),
        refill_type=whole(row.refill_type, "refill_type", INTEGER),
        notes=tuple(notes.said),
    )


def _name(raw: Raw, what: str) -> str:
    name = clean_text(raw).strip()
    if not name:
        raise Unfit(f"{what} is empty")
    if len(name) > NAME_LENGTH:
        raise Unfit(f"{what} is longer than {NAME_LENGTH} characters")
    return name


def _card(raw: Raw) -> int:
    card = whole(raw, "the card's id", BIGINT)
    if card is None:
        raise Unfit("it names no card")
    return card


def _flag(raw: Raw, what: str, notes: Notes, *, missing: bool) -> bool:
    value = missing if raw is None else flag(raw)
    if value is None:
        notes.add(f"{what} not understood, taken for f")
    return bool(value)


def _status(raw: Raw, activated: bool) -> Status:
    """Before A2Billing 1.4 there was only `activated`; its own upgrade made 1 and 0 of it."""
    code = whole(raw, "status")
    if code is None:
        return Status.ACTIVE if activated else Status.CANCELLED
    try:
        return Status(code)
    except ValueError:
        raise Unfit("status is no code from 0 to 8") from None


def _type_paid(raw: Raw, notes: Notes) -> int:
    """A2Billing takes whatever is not postpaid for prepaid."""
    code = whole(raw, "typepaid") or PREPAID
    if code not in {PREPAID, POSTPAID}:
        notes.add("typepaid not understood, taken for prepaid")
    return POSTPAID if code == POSTPAID else PREPAID


def _credit_limit(raw: Raw, type_paid: int, notes: Notes) -> Decimal | None:
    """A2Billing pays no heed to the limit of a prepaid card; ours would let it go below zero."""
    limit = exact_money(raw if raw is not None else "0", "creditlimit")
    if type_paid == POSTPAID:
        return limit
    if limit:
        notes.add("creditlimit of a prepaid card not taken")
    return None


def _threshold(raw: Raw) -> Decimal | None:
    """A2Billing writes -1 for 'no warning'."""
    threshold = None if raw is None else exact_money(raw, "credit_notification")
    return threshold if threshold is not None and threshold >= 0 else None


def _enableexpire(raw: Raw, notes: Notes) -> int:
    code = whole(raw, "enableexpire") or EXPIRES_NEVER
    if not EXPIRES_NEVER <= code <= EXPIRES_MOST:
        notes.add("enableexpire not understood, taken for 0")
        return EXPIRES_NEVER
    return code


def _date(raw: Raw, zone: ZoneInfo, notes: Notes) -> datetime | None:
    moment = moment_of(raw, zone)
    if moment is None and raw:
        notes.add(DATE_MADE_NULL)
    return moment
