"""What is asked of the ledger, by whom, and what came of it."""

from __future__ import annotations

import json
import os
import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from service.clock import rfc3339
from service.ledger.event import Kind, Status, event_id
from service.money import as_json

_ids = random.Random()  # noqa: S311  ids must be unique, not secret; the system's generator costs ten times as much
os.register_at_fork(after_in_child=_ids.seed)


def _command_id() -> uuid.UUID:
    return uuid.UUID(int=_ids.getrandbits(128), version=4)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the client, the actor that the event will name (`key:7`, `system`), the request, and its key."""

    client_id: uuid.UUID
    actor: str
    request_id: str | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Why:
    """What a caller may say about a change: kept on its event for good.

    `reference` is a payment's own number, unique per client. `expected` is the seq that the caller believes the stream
    to be at (If-Match): the change is refused when it has moved on.
    """

    reason: str | None = None
    reference: str | None = None
    expected: int | None = None


NOTHING_SAID = Why()


@dataclass(frozen=True, slots=True)
class Command:
    """One change asked for. `ref` means a customer of the caller's client; `amount` is in credit units.

    `refers_to` is the seq of an earlier event of the same stream; `detail` is JSON, kept as it is.
    `id` is made before the append, so that a command whose answer was lost can be asked for again without being
    carried out twice.
    """

    caller: Caller
    ref: str
    kind: Kind
    amount: Decimal | None = None
    status: Status | None = None
    why: Why = NOTHING_SAID
    refers_to: int | None = None
    detail: str | None = None
    id: uuid.UUID = field(default_factory=_command_id)


@dataclass(frozen=True, slots=True)
class Appended:
    """A command that became an event: its place in the stream, and the state that it led to.

    `last_seq` is where the stream is now: beyond `seq` where a warning followed (`credit.low`). `available` is what can
    still be taken or held.
    """

    customer_id: int
    seq: int
    last_seq: int
    balance: Decimal
    available: Decimal
    status: int
    kind: Kind

    @property
    def event_id(self) -> str:
        """The public name of the event."""
        return event_id(self.customer_id, self.seq)


def set_credit(caller: Caller, ref: str, credit: Decimal, why: Why = NOTHING_SAID) -> Command:
    """Make the credit what it should be. The delta is worked out under the stream's lock."""
    return Command(caller, ref, Kind.CREDIT_SET, amount=credit, why=why)


def add_credit(caller: Caller, ref: str, credit: Decimal, why: Why = NOTHING_SAID) -> Command:
    """Add to the credit; a negative amount takes away, not below the floor."""
    return Command(caller, ref, Kind.CREDIT_ADDED, amount=credit, why=why)


def set_status(caller: Caller, ref: str, status: Status, why: Why = NOTHING_SAID) -> Command:
    """Make the status what it should be."""
    return Command(caller, ref, Kind.STATUS_SET, status=status, why=why)


def set_limits(caller: Caller, ref: str, limits: Mapping[str, Decimal | None], why: Why = NOTHING_SAID) -> Command:
    """Set `creditlimit`, `credit_notification`, or both; None takes a limit away."""
    return Command(caller, ref, Kind.LIMIT_SET, why=why, detail=_detail(limits))


def hold(caller: Caller, ref: str, amount: Decimal, expires_at: datetime, why: Why = NOTHING_SAID) -> Command:
    """Put an amount (more than 0) aside until a moment."""
    return Command(
        caller, ref, Kind.HOLD_CREATED, amount=amount, why=why, detail=_detail({"expires_at": rfc3339(expires_at)})
    )


def capture(caller: Caller, place: tuple[int, int], amount: Decimal | None, why: Why = NOTHING_SAID) -> Command:
    """Take what was held, all or a part of it; the rest is free again. `place` is the hold's."""
    return _about(caller, place, Kind.HOLD_CAPTURED, why, amount)


def release(caller: Caller, place: tuple[int, int], why: Why = NOTHING_SAID) -> Command:
    """Give up a hold."""
    return _about(caller, place, Kind.HOLD_RELEASED, why)


def expire_hold(caller: Caller, place: tuple[int, int]) -> Command:
    """Give up a hold whose time is over."""
    return _about(caller, place, Kind.HOLD_EXPIRED, NOTHING_SAID)


def reverse(caller: Caller, place: tuple[int, int], amount: Decimal | None, why: Why = NOTHING_SAID) -> Command:
    """Undo the event at a place by its delta, all that is left of it or an amount (more than 0)."""
    return _about(caller, place, Kind.CREDIT_REVERSED, why, amount)


def import_credit(caller: Caller, customer_id: int, credit: Decimal, why: Why = NOTHING_SAID) -> Command:
    """Make the credit what it was in the system that the customer is brought over from."""
    return Command(caller, f"id:{customer_id}", Kind.CREDIT_IMPORTED, amount=credit, why=why)


def charge_call(
    caller: Caller, customer_id: int, amount: Decimal, call: Mapping[str, object], command_id: uuid.UUID
) -> Command:
    """Take what a call has cost (0 or more), also below the floor. `call` is what the event tells of it."""
    return Command(caller, f"id:{customer_id}", Kind.CALL_CHARGED, amount=amount, detail=_detail(call), id=command_id)


def add_caller_id(caller: Caller, customer_id: int, cid: str, why: Why = NOTHING_SAID) -> Command:
    """Note that a caller id is the customer's from now on."""
    return Command(caller, f"id:{customer_id}", Kind.CALLERID_ADDED, why=why, detail=_detail({"cid": cid}))


def remove_caller_id(caller: Caller, customer_id: int, cid: str, why: Why = NOTHING_SAID) -> Command:
    """Note that a caller id is another's from now on."""
    return Command(caller, f"id:{customer_id}", Kind.CALLERID_REMOVED, why=why, detail=_detail({"cid": cid}))


def open_account(
    caller: Caller,
    customer_id: int,
    credit: Decimal,
    status: Status,
    detail: Mapping[str, object] | None = None,
    why: Why = NOTHING_SAID,
) -> Command:
    """The first event of a stream: the customer is there, with this credit and status.

    `detail` tells what it started with; `creditlimit` and `credit_notification` in it take effect.
    """
    return Command(
        caller,
        f"id:{customer_id}",
        Kind.CUSTOMER_CREATED,
        amount=credit,
        status=status,
        why=why,
        detail=_detail(detail or {}),
    )


def _about(caller: Caller, place: tuple[int, int], kind: Kind, why: Why, amount: Decimal | None = None) -> Command:
    customer_id, seq = place
    return Command(caller, f"id:{customer_id}", kind, amount=amount, why=why, refers_to=seq)


def _detail(fields: Mapping[str, object]) -> str:
    """JSON to be kept for good: money digit by digit."""
    items = (f"{json.dumps(name)}: {_json(value)}" for name, value in fields.items())
    return "{" + ", ".join(items) + "}"


def _json(value: object) -> str:
    return as_json(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)
