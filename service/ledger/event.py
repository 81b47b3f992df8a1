"""What has happened: the event, the state it leads to, and the fold that leads there.

Pure values and functions; nothing here knows Postgres.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any

BIGGEST = 2**63  # ids are Postgres's bigint

# How the event of a call says when that began. Postgres reads it as Python does (`rebuild` has it match this), and JSON
# can show it: both have moments that the other has not.
CALL_START = (
    "(19[7-9][0-9]|[2-9][0-9]{3})-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,6})?"
    "(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])"
)

_ID = re.compile(r"(evt|hold)_([1-9][0-9]{0,18})_([1-9][0-9]{0,18})", re.ASCII)


class Kind(StrEnum):
    """What an event says. Written into the ledger for good: a kind may be added, never renamed."""

    CUSTOMER_CREATED = "customer.created"
    CREDIT_SET = "credit.set"
    CREDIT_ADDED = "credit.added"
    CREDIT_REVERSED = "credit.reversed"
    CREDIT_IMPORTED = "credit.imported"  # what a customer had in the system that it was brought over from
    CALL_CHARGED = "call.charged"
    CREDIT_LOW = "credit.low"  # written by the door itself, behind the event that led there
    CREDIT_EXHAUSTED = "credit.exhausted"
    STATUS_SET = "status.set"
    LIMIT_SET = "limit.set"
    HOLD_CREATED = "hold.created"
    HOLD_CAPTURED = "hold.captured"
    HOLD_RELEASED = "hold.released"
    HOLD_EXPIRED = "hold.expired"
    CALLERID_ADDED = "callerid.added"
    CALLERID_REMOVED = "callerid.removed"


class Status(IntEnum):
    """The status codes of the PBX (A2Billing's). All nine can be stored and read; four can be asked for by name."""

    CANCELLED = 0
    ACTIVE = 1
    NEW = 2
    WAITING = 3
    RESERVED = 4
    EXPIRED = 5
    SUSPENDED = 6
    LITIGATION = 7
    WAITING_PAYMENT = 8


STATUS_BY_NAME = {
    "active": Status.ACTIVE,
    "expired": Status.EXPIRED,
    "cancelled": Status.CANCELLED,
    "suspended": Status.SUSPENDED,
}


@dataclass(frozen=True, slots=True)
class State:
    """A customer's credit and what of it is held (in credit units), and its status, after `seq` events."""

    seq: int
    credit: Decimal
    status: int
    held: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Event:
    """One immutable fact in a customer's stream. Money is in credit units."""

    customer_id: int
    seq: int
    client_id: uuid.UUID
    kind: str
    delta: Decimal
    balance_after: Decimal
    held_after: Decimal
    creditlimit_after: Decimal | None
    status_after: int
    refers_to: int | None
    detail: Mapping[str, Any] | None
    reason: str | None
    reference: str | None
    actor: str
    recorded_at: datetime

    @property
    def id(self) -> str:
        """The public name of the event: its place in the ledger, so that no second index is needed to find it."""
        return event_id(self.customer_id, self.seq)


@dataclass(frozen=True, slots=True)
class Applied:
    """An event that was just applied, and the state it found."""

    event: Event
    before: State


class BrokenStream(Exception):
    """An event does not follow from the state before it; `args[0]` says how. Its customer is parked."""


def event_id(customer_id: int, seq: int) -> str:
    """`evt_1_42`: the 42nd event of customer 1."""
    return f"evt_{customer_id}_{seq}"


def hold_id(customer_id: int, seq: int) -> str:
    """`hold_1_42`: the hold that the 42nd event of customer 1 made."""
    return f"hold_{customer_id}_{seq}"


def place_of(public_id: str, prefix: str) -> tuple[int, int] | None:
    """(customer_id, seq) of `evt_1_42`, or of `hold_1_42`; None for what is no such id."""
    match = _ID.fullmatch(public_id)
    if match is None or match[1] != prefix:
        return None
    customer_id, seq = int(match[2]), int(match[3])
    return (customer_id, seq) if max(customer_id, seq) < BIGGEST else None


def apply(state: State, event: Event) -> State:
    """The state after an event. Raises BrokenStream where the stream has a gap or the sum does not hold."""
    if event.seq != state.seq + 1:
        raise BrokenStream(f"event {event.seq} follows event {state.seq}")
    if state.credit + event.delta != event.balance_after:
        raise BrokenStream(
            f"event {event.seq}: {state.credit} and a delta of {event.delta} make not {event.balance_after}"
        )
    return State(event.seq, event.balance_after, event.status_after, event.held_after)


def call_start(event: Event) -> datetime | None:
    """When the call began that an event charged, if it says so. Raises BrokenStream for what is not a moment."""
    if event.detail is None:
        return None
    with suppress(ValueError, OverflowError):
        if isinstance(event.detail, Mapping):
            start = event.detail.get("start_time")
            return None if start is None else _moment(start)
    raise BrokenStream(f"event {event.seq}: its start_time is not a moment")


def _moment(value: object) -> datetime:
    if isinstance(value, str) and re.fullmatch(CALL_START, value):
        return datetime.fromisoformat(value).astimezone(UTC)
    raise ValueError
