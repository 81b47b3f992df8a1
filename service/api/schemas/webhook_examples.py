"""Answers about webhooks, as examples for the document."""

from __future__ import annotations

from typing import Any

_ID = "6cb86e73-990a-4821-845f-29b4ed43259e"
_DELIVERY = "01929f3e-5d5c-7a31-8a3e-1f6f0d6f2a11"
_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="  # noqa: S105  nobody's
_PATH = f"/v1/webhook/{_ID}/delivery/{_DELIVERY}"

WEBHOOK: dict[str, Any] = {
    "id": _ID,
    "url": "https://billing.example.com/pbx",
    "event_types": ["customer.credit.changed", "customer.status.changed"],
    "description": "billing",
    "ordered": False,
    "headers": ["X-Gateway-Token"],
    "disabled": False,
    "disabled_at": None,
    "disabled_reason": None,
    "failing_since": None,
    "previous_secret_until": None,
    "created_at": "2021-05-31T17:17:35.123456Z",
}
WEBHOOKS: dict[str, Any] = {"data": [WEBHOOK], "limit": 10, "offset": 0, "total": 1}
CREATED: dict[str, Any] = {**WEBHOOK, "secret": _SECRET}
DELETED: dict[str, Any] = {"id": _ID, "message": "successfully"}
ROTATED: dict[str, Any] = {"id": _ID, "secret": _SECRET, "previous_secret_until": "2021-06-01T17:17:35.123456Z"}
DUE: dict[str, Any] = {"id": _DELIVERY, "message": "successfully", "delivery": _PATH}
REPLAYED: dict[str, Any] = {"replayed": 42, "more": False}
DELIVERY: dict[str, Any] = {
    "id": _DELIVERY,
    "webhook_id": "msg_2f3c1339682d5f55a5218f56ebdb9ce8",
    "event_type": "customer.credit.changed",
    "event_id": "evt_1_42",
    "status": "pending",
    "created_at": "2021-07-20T12:00:54.123456Z",
    "next_attempt_at": "2021-07-20T12:00:59.654321Z",
    "finished_at": None,
    "attempts": [
        {
            "number": 1,
            "outcome": "retry",
            "status_code": 500,
            "milliseconds": 52,
            "error": "status",
            "started_at": "2021-07-20T12:00:54.233456Z",
        }
    ],
}
DELIVERIES: dict[str, Any] = {"data": [DELIVERY], "next": None}
ONE: dict[str, Any] = {
    **DELIVERY,
    "body": {
        "type": "customer.credit.changed",
        "timestamp": "2021-07-20T12:00:54.123456Z",
        "data": {"event_id": "evt_1_42", "customer_id": 1, "seq": 42, "kind": "credit.added", "delta": 10},
    },
}
