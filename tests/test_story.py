"""The path of one credit change, from the token to the signed webhook, through real processes."""

from __future__ import annotations

import json
import subprocess

import pytest
import requests
from standardwebhooks import Webhook

from tests.support.ledger import change_log
from tests.support.processes import ROOT, until
from tests.support.receiver import receiving


@pytest.fixture
def flask(processes):
    """Runs a command as an operator would; what it printed last."""

    def run(*words: str) -> str:
        command = ["flask", *words]
        done = subprocess.run(command, cwd=ROOT, env=processes.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[-1]

    return run


def test_the_path_of_one_change(processes, flask, own_engine):
    with receiving() as subscriber:
        # An operator makes a client, a key, and an endpoint for its events.
        client = flask("client", "create", "Tổng đài Sài Gòn")
        api_key = flask("key", "create", "Tổng đài Sài Gòn")
        secret = flask("webhook", "add", client, subscriber.url)
        processes.start_web()

        # The integrator exchanges the key for a token …
        token = requests.post(f"{processes.url}/v1/auth/token", json={"api_key": api_key}).json()["data"]["token"]
        headers = {"Authorization": f"Bearer {token}"}

        # … makes a customer, twice by mistake, but with one key …
        new = {"username": "0906237580", "credit": 10, "cid": "02812345678"}
        makes = [
            requests.post(f"{processes.url}/v1/customer", json=new, headers={**headers, "Idempotency-Key": "first"})
            for _ in range(2)
        ]
        assert makes[0].content == makes[1].content
        customer = int(makes[0].json()["id"])

        # … sets a credit: it is durable before the answer …
        changed = requests.put(
            f"{processes.url}/v1/customer/0906237580/credit",
            json={"credit": 12.5, "reason": "nạp tiền"},
            headers=headers,
        )
        assert changed.json() == {"id": str(customer), "message": "successfully"}

        # … and reads it back at once, although no worker is alive.
        assert requests.get(f"{processes.url}/v1/customer/{customer}", headers=headers).json()["credit"] == 12.5
        assert change_log(own_engine, customer) == []

        # The workers come: the change log says what changed, and who asked.
        for name in ("worker", "deliver", "clock"):
            processes.start(name)
        log = until(lambda: change_log(own_engine, customer)[1:])[0]
        assert (log.credit_before, log.credit_after, log.reason) == (10, 12.5, "nạp tiền")
        assert log.actor.startswith("key:")

        # The subscriber gets the signed webhook, and verifies it with the public library.
        until(lambda: len(subscriber.received) == 2)
        [webhook] = [each for each in subscriber.received if b"credit.changed" in each.body]
        payload = Webhook(secret).verify(webhook.body.decode(), webhook.headers)
        assert payload == json.loads(webhook.body)
        assert payload["type"] == "customer.credit.changed"
        assert payload["data"]["event_id"] == changed.headers["Ledger-Event"] == f"evt_{customer}_2"
        assert (payload["data"]["delta"], payload["data"]["balance_after"]) == (2.5, 12.5)

        # In the end every event is proved, and what the workers made of it.
        until(lambda: len(change_log(own_engine, customer)) == 2)
        flask("ledger", "verify")  # exit status 0: everything holds
