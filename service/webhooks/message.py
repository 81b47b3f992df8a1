"""Messages about no event: they have customer 0 and a number of their own, and are deliveries like any other."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import Connection, text

from service import clock
from service.webhooks.endpoints import require_enabled
from service.webhooks.owe import uuid7s

TEST = "webhook.test"


def send_test(tx: Connection, client_id: uuid.UUID, endpoint_id: uuid.UUID) -> uuid.UUID:
    """Owe an endpoint a test message, whatever types of event it asked for; the delivery's id.

    Raises NotFound, and Conflict where it is disabled.
    """
    require_enabled(tx, client_id, endpoint_id)
    return _owe_message(tx, client_id, endpoint_id, TEST, {"endpoint_id": str(endpoint_id)})


def _owe_message(
    tx: Connection, client_id: uuid.UUID, endpoint_id: uuid.UUID, event_type: str, data: Mapping[str, Any]
) -> uuid.UUID:
    [delivery] = uuid7s(1)
    body = orjson.dumps({"type": event_type, "timestamp": clock.rfc3339(clock.now()), "data": data})
    values = {
        "client": client_id,
        "id": delivery,
        "endpoint": endpoint_id,
        "event_type": event_type,
        "webhook_id": f"msg_{uuid.uuid4().hex}",
        "body": body,
    }
    tx.execute(_INSERT, values)
    return delivery


_INSERT = text("""
    INSERT INTO webhook_delivery (client_id, id, endpoint_id, customer_id, seq, event_type, webhook_id, body)
    VALUES (:client, :id, :endpoint, 0, nextval('webhook_message_number'), :event_type, :webhook_id, :body)
""")
