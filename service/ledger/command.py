"""What is asked of the ledger, by whom, and what came of it."""

from __future__ import annotations

import os
import random
import uuid
from dataclasses import dataclass, field
from decimal import Decimal

from service.ledger.event import Kind, Status, event_id

_ids = random.Random()  # noqa: S311  ids must be unique, not secret; the system's generator costs ten times as much
os.register_at_fork(after_in_child=_ids.seed)


def _command_id() -> uuid.UUID:
    return uuid.UUID(int=_ids.getrandbits(128), version=4)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the client, the actor that the event will name (`key:7`, `system`), and the request."""

    client_id: uuid.UUID
    actor: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """One change asked for. `ref` means a customer of the caller's client; `amount` is in credit units.

    `id` is made before the append, so that a command whose answer was lost can be asked for again without being
    carried out twice.
    """

    caller: Caller
    ref: str
    kind: Kind
    amount: Decimal | None = None
    status: Status | None = None
    reason: str | None = None
    reference: str | None = None
    id: uuid.UUID = field(default_factory=_command_id)


@dataclass(frozen=True, slots=True)
class Appended:
    """A command that became an event: its place in the stream, and the state that it led to."""

    customer_id: int
    seq: int
    balance: Decimal
    status: int

    @property
    def event_id(self) -> str:
        """The public name of the event."""
        return event_id(self.customer_id, self.seq)


def set_credit(caller: Caller, ref: str, credit: Decimal, reason: str | None = None) -> Command:
    """Make the credit what it should be. The delta is worked out under the stream's lock."""
    return Command(caller, ref, Kind.CREDIT_SET, amount=credit, reason=reason)


def set_status(caller: Caller, ref: str, status: Status, reason: str | None = None) -> Command:
    """Make the status what it should be."""
    return Command(caller, ref, Kind.STATUS_SET, status=status, reason=reason)


def open_account(caller: Caller, customer_id: int, credit: Decimal, status: Status) -> Command:
    """The first event of a stream: the customer is there, with this credit and status."""
    return Command(caller, f"id:{customer_id}", Kind.CUSTOMER_CREATED, amount=credit, status=status)
