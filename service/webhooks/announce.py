"""The message `webhook.disabled`: to a client's other endpoints, that one of them is sent to no more.

About no event, so it has customer 0 and a number of its own; for the rest it is a delivery like any other.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import orjson
from sqlalchemy import Connection, text

from service.clock import now, rfc3339
from service.webhooks.owe import uuid7s
from service.webhooks.payload import WEBHOOK_DISABLED


@dataclass(frozen=True, slots=True)
class Disabled:
    """An endpoint that was disabled, and why."""

    endpoint_id: uuid.UUID
    url: str
    reason: str


def announce(tx: Connection, client_id: uuid.UUID, disabled: Disabled) -> int:
    """Owe the message to the client's other enabled endpoints that want it; to how many."""
    about = {"client": client_id, "endpoint": disabled.endpoint_id, "type": WEBHOOK_DISABLED}
    others = list(tx.scalars(_OTHERS, about))
    if others:
        tx.execute(
            _OWE,
            {
                "client": client_id,
                "ids": uuid7s(len(others)),
                "endpoints": others,
                "seq": tx.scalar(_NUMBER),
                "type": WEBHOOK_DISABLED,
                "webhook_id": f"msg_{uuid.uuid4().hex}",
                "body": _body(disabled),
            },
        )
    return len(others)


def _body(disabled: Disabled) -> bytes:
    """Without the URL's query: it may be a password, and the other endpoints may be other people's."""
    data = {
        "endpoint_id": str(disabled.endpoint_id),
        "url": disabled.url.partition("?")[0],
        "reason": disabled.reason,
    }
    return orjson.dumps({"type": WEBHOOK_DISABLED, "timestamp": rfc3339(now()), "data": data})


_OTHERS = text("""
    SELECT id FROM webhook_endpoint
    WHERE client_id = :client AND id <> :endpoint AND disabled_at IS NULL AND deleted_at IS NULL
      AND (event_types IS NULL OR :type = ANY(event_types))
    ORDER BY id
""")
_NUMBER = text("SELECT nextval('webhook_message_number')")
_OWE = text("""
    INSERT INTO webhook_delivery (client_id, id, endpoint_id, customer_id, seq, event_type, webhook_id, body)
    SELECT :client, id, endpoint_id, 0, :seq, :type, :webhook_id, :body
    FROM unnest(CAST(:ids AS uuid[]), CAST(:endpoints AS uuid[])) AS other (id, endpoint_id)
""")
