"""When the encryption key is lost, rotating the secret and setting the headers again is all that it takes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import structlog
from sqlalchemy import text
from standardwebhooks import Webhook

from service.db.transaction import transaction
from service.webhooks import dispatch as dispatch_module
from service.webhooks.dispatch import dispatch
from service.webhooks.vault import Vault
from tests.support.webhooks import add_webhook
from tests.webhooks.subscriber import Subscriber

LOST = Vault("a key that nobody has any more")


@pytest.fixture
def send(engine, config, monkeypatch):
    """Dispatch until nothing is due; a dispatcher knows no clients, so what other tests left is removed."""
    with transaction(engine) as tx:
        tx.execute(text("TRUNCATE webhook_attempt, webhook_delivery, webhook_endpoint"))
    monkeypatch.setattr(dispatch_module, "LINGER", 0.05)
    return lambda: dispatch(engine, replace(config, webhook_timeout=2.0), stop=lambda: False)


@pytest.fixture
def subscriber():
    with Subscriber() as subscriber:
        yield subscriber


def lose_the_key(engine, webhook):
    """As if a webhook had been made with a key that is gone."""
    with transaction(engine) as tx:
        tx.execute(
            text("UPDATE webhook_endpoint SET secret = :secret, headers = :headers WHERE id = :id"),
            {"secret": LOST.seal(webhook["secret"]), "headers": LOST.seal('{"X-Token": "a"}'), "id": webhook["id"]},
        )


@pytest.mark.parametrize("rotation", [{}, {"keep_for": 0}])
def test_with_a_new_secret_and_its_headers_set_again_a_webhook_is_sent_to_as_before(
    api, engine, send, subscriber, rotation
):
    made = add_webhook(api, url=subscriber.url("/hook"), headers={"X-Token": "a"})
    path = f"/v1/webhook/{made['id']}"
    lose_the_key(engine, made)
    api.post(f"{path}/test")
    assert send().retry == 1
    secret = api.post(f"{path}/secret/rotate", rotation).json["secret"]
    assert api.put(path, {"headers": {"X-Token": "b"}}).json["headers"] == ["X-Token"]
    api.post(f"{path}/test")
    assert send().delivered == 1
    [received] = subscriber.received
    assert Webhook(secret).verify(received.body, received.headers)
    assert len(received.headers["webhook-signature"].split()) == 1
    assert received.headers["x-token"] == "b"


def test_headers_that_cannot_be_read_keep_nobody_from_reading_and_changing_webhooks(api, engine):
    lost, other = add_webhook(api, headers={"X-Token": "a"}), add_webhook(api, headers={"X-Other": "a"})
    lose_the_key(engine, lost)
    path = f"/v1/webhook/{lost['id']}"
    with structlog.testing.capture_logs() as logged:
        assert api.get(path).json["headers"] == []
    warning = {"event": "webhook headers unreadable", "log_level": "warning", "endpoint_id": lost["id"]}
    assert warning in logged
    headers = {row["id"]: row["headers"] for row in api.get("/v1/webhook?limit=100").json["data"]}
    assert (headers[lost["id"]], headers[other["id"]]) == ([], ["X-Other"])
    for said in ({"disabled": True}, {"disabled": False, "description": "b"}):
        assert api.put(path, said).status == 200
    assert api.put(path, {"headers": {"X-Token": "b"}}).json["headers"] == ["X-Token"]
    assert api.call("DELETE", path).status == 200
