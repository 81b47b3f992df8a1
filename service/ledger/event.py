"""What has happened: the event, the state it leads to, and the fold that leads there.

Pure values and functions; nothing here knows Postgres.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import IntEnum, StrEnum


class Kind(StrEnum):
    """What an event says. Written into the ledger for good: a kind may be added, never renamed."""

    CUSTOMER_CREATED = "customer.created"
    CREDIT_SET = "credit.set"
    STATUS_SET = "status.set"


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
    """A customer's credit (in credit units) and status after `seq` events."""

    seq: int
    credit: Decimal
    status: int


@dataclass(frozen=True, slots=True)
class Event:
    """One immutable fact in a customer's stream. Money is in credit units."""

    customer_id: int
    seq: int
    client_id: uuid.UUID
    kind: str
    delta: Decimal
    balance_after: Decimal
    status_after: int
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


def apply(state: State, event: Event) -> State:
    """The state after an event. Raises BrokenStream where the stream has a gap or the sum does not hold."""
    if event.seq != state.seq + 1:
        raise BrokenStream(f"event {event.seq} follows event {state.seq}")
    if state.credit + event.delta != event.balance_after:
        raise BrokenStream(
            f"event {event.seq}: {state.credit} and a delta of {event.delta} make not {event.balance_after}"
        )
    return State(event.seq, event.balance_after, event.status_after)
