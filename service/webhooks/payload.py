"""An applied event as a subscriber sees it: an event type and the exact bytes that are signed and sent.

Worked out once, in the apply's transaction, and stored: a retry next day sends the same bytes, whatever the code or the
customer have become since. Pure; no float comes near an amount.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from decimal import Decimal

import orjson

from service.clock import rfc3339
from service.ledger.event import Applied, Kind
from service.money import as_json

TYPE_BY_KIND = {
    Kind.CUSTOMER_CREATED: "customer.created",
    Kind.CREDIT_SET: "customer.credit.changed",
    Kind.STATUS_SET: "customer.status.changed",
}
EVENT_TYPES = frozenset(TYPE_BY_KIND.values())


@dataclass(frozen=True, slots=True)
class Message:
    """What every endpoint is sent about one event: the same id and the same bytes."""

    event_type: str
    webhook_id: str
    body: bytes


def event_type(applied: Applied) -> str | None:
    """The public type of an event; None for a kind that is nobody's business outside."""
    return TYPE_BY_KIND.get(applied.event.kind)  # type: ignore[call-overload, no-any-return]


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
            },
        }
    )


def _number(amount: Decimal) -> orjson.Fragment:
    return orjson.Fragment(as_json(amount))
