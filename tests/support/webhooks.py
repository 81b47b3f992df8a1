"""Webhook endpoints of a client, made over its API, and deliveries that have come to an end."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from service.api.context import services
from service.db.transaction import transaction
from tests.support.client import ApiClient

URL = "https://hooks.example.com/pbx"
_END = text("""
    UPDATE webhook_delivery SET status = :status, next_attempt_at = NULL, finished_at = now() WHERE id = :id
""")

MANY = 15  # of a client's webhooks; it can't have very many more


def add_webhook(api: ApiClient, **fields: Any) -> dict[str, Any]:
    """What the API answered to a new webhook, its secret included."""
    there = api.get("/v1/webhook?limit=100").json["data"]
    for old in there if len(there) > MANY else ():
        api.call("DELETE", f"/v1/webhook/{old['id']}")
    answer = api.post("/v1/webhook", {"url": URL, **fields})
    assert answer.status == 200, answer.body
    return answer.json


def ended_delivery(api: ApiClient, webhook: str, status: str = "failed") -> str:
    """The id of a delivery of a webhook that has ended, though nobody has sent it."""
    delivery = api.post(f"/v1/webhook/{webhook}/test").json["id"]
    with api.app.app_context(), transaction(services().engine) as tx:
        tx.execute(_END, {"status": status, "id": delivery})
    return delivery
