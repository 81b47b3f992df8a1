"""An applied event as a subscriber sees it: an event type and the exact bytes that are signed and sent.

Worked out once, in the apply's transaction, and stored: a retry next day sends the same bytes, whatever the code or the
customer have become since. Pure; no float comes near an amount.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from typing import Any

import orjson

from service.clock import rfc3339
from service.ledger.event import Applied, Event, Kind, State, event_id, hold_id
from service.money import as_json

_CREDIT_CHANGED = "customer.credit.changed"

# A capture is two things at once: the end of a hold, and a change of the credit. Limits are the client's own affair.
TYPES_BY_KIND: Mapping[str, tuple[str, ...]] = {
    Kind.CUSTOMER_CREATED: ("customer.created",),
    Kind.CREDIT_SET: (_CREDIT_CHANGED,),
    Kind.CREDIT_ADDED: (_CREDIT_CHANGED,),
    Kind.CREDIT_REVERSED: (_CREDIT_CHANGED,),
    Kind.CREDIT_IMPORTED: (_CREDIT_CHANGED,),
    Kind.CALL_CHARGED: (_CREDIT_CHANGED,),
    Kind.CREDIT_LOW: ("customer.credit.low",),
    Kind.CREDIT_EXHAUSTED: ("customer.credit.exhausted",),
    Kind.STATUS_SET: ("customer.status.changed",),
    Kind.LIMIT_SET: (),
    Kind.HOLD_CREATED: ("hold.created",),
    Kind.HOLD_CAPTURED: ("hold.captured", _CREDIT_CHANGED),
    Kind.HOLD_RELEASED: ("hold.released",),
    Kind.HOLD_EXPIRED: ("hold.expired",),
    Kind.CALLERID_ADDED: ("callerid.changed",),
    Kind.CALLERID_REMOVED: ("callerid.changed",),
}
WEBHOOK_DISABLED = "webhook.disabled"  # about no event: `announce` writes it
EVENT_TYPES = frozenset([*chain.from_iterable(TYPES_BY_KIND.values()), WEBHOOK_DISABLED])
_TOLD = ("cid", "uniqueid", "leg")  # of an event's detail
_ABOUT_A_HOLD = {Kind.HOLD_CAPTURED, Kind.HOLD_RELEASED, Kind.HOLD_EXPIRED}


@dataclass(frozen=True, slots=True)
class Message:
    """What every endpoint is sent about one event: the same id and the same bytes."""

    event_type: str
    webhook_id: str
    body: bytes


def event_types(applied: Applied) -> tuple[str, ...]:
    """The public types of an event; none for what is nobody's business outside, nor for a call that cost nothing."""
    if applied.event.kind == Kind.CALL_CHARGED and not applied.event.delta:
        return ()
    return TYPES_BY_KIND.get(applied.event.kind, ())


def message(applied: Applied, event_type: str) -> Message:
    """The message about an event."""
    return Message(event_type, _webhook_id(applied, event_type), _body(applied, event_type))


def _webhook_id(applied: Applied, event_type: str) -> str:
    """Derived, not drawn: whoever works it out again, for a replay say, arrives at the same id."""
    return f"msg_{uuid.uuid5(applied.event.client_id, f'{applied.event.id}:{event_type}').hex}"


def _body(applied: Applied, event_type: str) -> bytes:
    event, before = applied.event, applied.before
    return orjson.dumps(
        {
            "type": event_type,
            "timestamp": rfc3339(event.recorded_at),
            "data": {
                "event_id": event.id,
                "customer_id": event.customer_id,
                "seq": event.seq,
                "kind": event.kind,
                "delta": _number(event.delta),
                "balance_before": _number(before.credit),
                "balance_after": _number(event.balance_after),
                "status_before": before.status,
                "status": event.status_after,
                "reason": event.reason,
                "reference": event.reference,
                **_particulars(event, before),
            },
        }
    )


def _particulars(event: Event, before: State) -> dict[str, Any]:
    """What only some kinds have: a hold, a caller id, the event that this one refers to."""
    told: dict[str, Any] = {}
    if event.held_after or before.held:
        told["held"] = _number(event.held_after)
    if event.kind == Kind.HOLD_CREATED:
        told["hold_id"] = hold_id(event.customer_id, event.seq)
    elif event.kind in _ABOUT_A_HOLD and event.refers_to is not None:
        told["hold_id"] = hold_id(event.customer_id, event.refers_to)
    elif event.refers_to is not None:
        told["refers_to"] = event_id(event.customer_id, event.refers_to)
    if event.detail is not None:
        told |= {name: event.detail[name] for name in _TOLD if name in event.detail}
    return told


def _number(amount: Decimal) -> orjson.Fragment:
    return orjson.Fragment(as_json(amount))
