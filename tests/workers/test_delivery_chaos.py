"""Promise 7 at length: 5,000 deliveries, the deliver process killed five times, Redis flushed twice."""

from __future__ import annotations

import ipaddress
from collections import Counter, defaultdict
from decimal import Decimal

import pytest
from redis import Redis
from standardwebhooks import Webhook

from service.access.keys import create_client
from service.ledger.append import append
from service.ledger.command import Caller, set_credit
from service.webhooks.endpoints import add_endpoint
from service.webhooks.vault import Vault
from tests.conftest import LOOPBACK, SECRET
from tests.support.client import add_customer
from tests.support.ledger import rows
from tests.support.processes import until
from tests.webhooks.subscriber import Subscriber, answers

ENDPOINTS, CUSTOMERS, EVENTS = 10, 20, 480  # with each customer's creation: 10 × 500 = 5,000 deliveries
KILLS_AT = (400, 1200, 2000, 2800, 3600)  # POSTs that have arrived
FLUSHES_AT = (800, 2400)


@pytest.fixture
def subscriber():
    with Subscriber() as subscriber:
        yield subscriber


@pytest.fixture
def secrets(own_engine, subscriber):
    """The secret of each endpoint's path, every event being owed to each endpoint."""
    client = create_client(own_engine, "chaos")
    allow = (ipaddress.ip_network(LOOPBACK),)
    made = {}
    for n in range(ENDPOINTS):
        url = subscriber.url(f"/{n}", answers(200, after=0.01))
        made[f"/{n}"] = add_endpoint(own_engine, client, url, vault=Vault(SECRET), allow_networks=allow)[1]
    customers = [add_customer(own_engine, client) for _ in range(CUSTOMERS)]
    caller = Caller(client, "chaos")
    append(own_engine, [set_credit(caller, f"id:{customers[n % CUSTOMERS]}", Decimal(n)) for n in range(EVENTS)])
    return made


def test_five_thousand_deliveries_survive_five_kills_and_two_flushes(
    processes, valkey, own_engine, subscriber, secrets
):
    processes.environment["WEBHOOK_TIMEOUT"] = "2"  # so that the leases of the killed run out within seconds
    redis = Redis.from_url(valkey.url)
    processes.start("worker"), processes.start("clock")
    deliver = processes.start("deliver")
    for moment in sorted(KILLS_AT + FLUSHES_AT):
        until(lambda moment=moment: len(subscriber.received) >= moment, 60, f"{moment} arrived")
        if moment in FLUSHES_AT:
            redis.flushall()
        else:
            processes.kill(deliver)
            deliver = processes.start("deliver")
    until(lambda: _statuses(own_engine) == {"delivered": 5000}, 90, "all delivered")
    _assert_each_arrived_with_one_id_and_the_same_bytes(own_engine, subscriber, secrets)
    _assert_every_send_is_on_record(own_engine, subscriber)


def _statuses(engine):
    return {
        row.status: row.count
        for row in rows(engine, "SELECT status, count(*) AS count FROM webhook_delivery GROUP BY 1")
    }


def _assert_each_arrived_with_one_id_and_the_same_bytes(engine, subscriber, secrets):
    owed = defaultdict(set)
    for row in rows(
        engine,
        "SELECT e.url, d.webhook_id, d.body FROM webhook_delivery d JOIN webhook_endpoint e ON e.id = d.endpoint_id",
    ):
        owed["/" + row.url.rpartition("/")[2], row.webhook_id].add(bytes(row.body))
    arrived = defaultdict(set)
    for received in subscriber.received:
        arrived[received.path, received.webhook_id].add(received.body)
        Webhook(secrets[received.path]).verify(received.body, received.headers)
    assert len(owed) == 5000
    assert arrived == owed


def _assert_every_send_is_on_record(engine, subscriber):
    posts = Counter((received.path, received.webhook_id) for received in subscriber.received)
    attempts = Counter()
    outcomes = Counter()
    for row in rows(
        engine,
        "SELECT e.url, d.webhook_id, a.outcome FROM webhook_attempt a "
        "JOIN webhook_delivery d ON d.client_id = a.client_id AND d.id = a.delivery_id "
        "JOIN webhook_endpoint e ON e.id = d.endpoint_id",
    ):
        attempts["/" + row.url.rpartition("/")[2], row.webhook_id] += 1
        outcomes[row.outcome] += 1
    assert all(attempts[key] >= posts[key] for key in posts)
    assert outcomes["delivered"] == 5000
    assert outcomes["abandoned"] == sum(attempts.values()) - 5000 >= len(KILLS_AT)
