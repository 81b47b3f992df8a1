"""Promises 6 and 7 with real processes: whatever is killed, flushed or stopped, nothing is lost and nothing doubled."""

from __future__ import annotations

import random
import signal
import subprocess
import threading
import time
from collections import defaultdict
from contextlib import suppress
from decimal import Decimal

import pytest
import requests

from service.access.keys import create_client, create_key
from service.ledger.append import append_one
from service.ledger.command import Caller, set_credit
from service.webhooks.endpoints import add_endpoint
from service.webhooks.vault import Vault
from tests.conftest import LOOPBACK, SECRET
from tests.support.client import add_customer
from tests.support.ledger import assert_applied, assert_sound, rows
from tests.support.processes import until
from tests.support.receiver import receiving

WORKERS = ("worker", "deliver", "clock")


class Shop:
    """A client with customers and a subscriber, on a database of its own."""

    def __init__(self, engine, receiver, customers=8):
        import ipaddress

        self.engine, self.receiver = engine, receiver
        self.client = create_client(engine, "chaos")
        allow = (ipaddress.ip_network(LOOPBACK),)
        add_endpoint(engine, self.client, receiver.url, vault=Vault(SECRET), allow_networks=allow)
        self.customers = [add_customer(engine, self.client) for _ in range(customers)]
        self.key = create_key(engine, self.client)[1]

    def change(self, count, pause=0.0):
        caller = Caller(self.client, "chaos")
        for n in range(count):
            append_one(self.engine, set_credit(caller, f"id:{random.choice(self.customers)}", Decimal(n)))
            time.sleep(pause)

    def settled(self):
        waiting = rows(
            self.engine,
            "SELECT (SELECT count(*) FROM outbox), (SELECT count(*) FROM webhook_delivery WHERE status <> 'delivered')",
        )
        return tuple(waiting[0]) == (0, 0)

    def assert_nothing_lost_and_nothing_doubled(self):
        for customer in self.customers:
            assert_sound(self.engine, customer)
            assert_applied(self.engine, customer)
        events = rows(self.engine, "SELECT customer_id, seq FROM ledger_event")
        deliveries = rows(self.engine, "SELECT customer_id, seq, webhook_id FROM webhook_delivery")
        assert sorted((d.customer_id, d.seq) for d in deliveries) == sorted((e.customer_id, e.seq) for e in events)
        arrived = defaultdict(set)
        for each in self.receiver.received:
            arrived[each.webhook_id].add(each.body)
        assert arrived.keys() == {d.webhook_id for d in deliveries}
        assert {len(bodies) for bodies in arrived.values()} == {1}


@pytest.fixture
def shop(own_engine):
    with receiving() as receiver:
        yield Shop(own_engine, receiver)


def start(processes, *names):
    return [processes.start(name) for name in names]


def test_workers_killed_in_the_middle_of_applies_and_deliveries(processes, shop):
    shop.receiver.delay = 0.05
    running = dict(zip(WORKERS, start(processes, *WORKERS), strict=True))
    writer = threading.Thread(target=shop.change, args=(400, 0.005))
    writer.start()
    kills = 0
    while writer.is_alive() or kills < 6:
        time.sleep(0.4)
        name = ("worker", "deliver")[kills % 2]
        processes.kill(running[name])
        running[name] = processes.start(name)
        kills += 1
    writer.join()
    until(shop.settled, 90, "all applied and delivered")
    shop.assert_nothing_lost_and_nothing_doubled()
    assert kills >= 6


def test_redis_flushed_with_work_under_way(processes, shop, valkey):
    from redis import Redis

    start(processes, *WORKERS)
    redis = Redis.from_url(valkey.url)
    writer = threading.Thread(target=shop.change, args=(300, 0.003))
    writer.start()
    while writer.is_alive():
        redis.flushall()
        time.sleep(0.1)
    redis.flushall()
    until(shop.settled, 30, "all applied and delivered")
    shop.assert_nothing_lost_and_nothing_doubled()


def test_redis_away_for_ten_seconds_while_changes_are_accepted(processes, shop, valkey):
    processes.start_web()
    workers = start(processes, *WORKERS)
    token = requests.post(f"{processes.url}/v1/auth/token", json={"api_key": shop.key}).json()["data"]["token"]
    http = requests.Session()
    http.headers["Authorization"] = f"Bearer {token}"

    def put(n):
        customer = shop.customers[n % len(shop.customers)]
        answer = http.put(f"{processes.url}/v1/customer/{customer}/credit", json={"credit": n})
        assert answer.status_code == 200
        assert http.get(f"{processes.url}/v1/customer/{customer}").json()["credit"] == n

    put(1)
    until(shop.settled, 20)
    valkey.stop()
    down = time.monotonic()
    n = 1
    while time.monotonic() - down < 10:
        put(n := n + 1)
        time.sleep(0.05)
    assert http.get(f"{processes.url}/readyz").json()["status"] == "degraded"
    assert http.post(f"{processes.url}/v1/auth/token", json={"api_key": shop.key}).status_code == 200
    valkey.start()
    until(shop.settled, 10, "everything applied and delivered within 10 s after Redis is back")
    assert all(worker.poll() is None for worker in workers), "without a restart"
    assert http.get(f"{processes.url}/readyz").json()["status"] == "ready"
    shop.assert_nothing_lost_and_nothing_doubled()


def test_a_web_process_killed_while_it_accepts_changes(processes, shop):
    start(processes, *WORKERS)
    token = None
    accepted = 0
    for _ in range(3):
        web = processes.start_web()
        token = (
            token or requests.post(f"{processes.url}/v1/auth/token", json={"api_key": shop.key}).json()["data"]["token"]
        )
        http = requests.Session()
        http.headers["Authorization"] = f"Bearer {token}"
        killer = threading.Timer(0.5, processes.kill, [web])
        killer.start()
        try:
            while True:
                customer = random.choice(shop.customers)
                url = f"{processes.url}/v1/customer/{customer}/credit"
                accepted += http.put(url, json={"credit": accepted}).status_code == 200
        except requests.RequestException:
            killer.join()
    until(shop.settled, 30)
    shop.assert_nothing_lost_and_nothing_doubled()
    [(events,)] = rows(shop.engine, "SELECT count(*) FROM ledger_event WHERE kind = 'credit.set'")
    assert events >= accepted > 30


@pytest.mark.parametrize("name", ["web", "worker", "deliver", "clock"])
def test_each_process_stops_cleanly_on_repeated_sigterm(processes, shop, name):
    others = start(processes, *({"worker", "deliver", "clock"} - {name}))
    process = processes.start_web() if name == "web" else processes.start(name)
    shop.receiver.delay = 1.0
    shop.change(50)
    until(lambda: shop.receiver.received or name in {"worker", "deliver"}, 20)
    if name != "web":
        until(lambda: "ready" in processes.log_of(name).read_text())
    time.sleep(0.5)
    began = time.monotonic()
    while process.poll() is None and time.monotonic() - began < 25:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.3)
    assert process.poll() == 0, processes.log_of(name).read_text()[-2000:]
    shop.receiver.delay = 0.0
    if name != "web":
        processes.start(name)
    until(shop.settled, 60)
    shop.assert_nothing_lost_and_nothing_doubled()
    assert all(other.poll() is None for other in others)


def test_each_process_may_run_several_times(processes, shop):
    start(processes, *WORKERS, *WORKERS)
    shop.change(300)
    until(shop.settled, 60)
    shop.assert_nothing_lost_and_nothing_doubled()
    assert len(shop.receiver.received) == 300 + len(shop.customers)


def test_an_idle_system_applies_and_delivers_without_waiting_for_a_sweep(processes, shop):
    """Not a timed test: with no clock running, nothing but doorbells can carry the change. `make bench` measures."""
    processes.start_web()
    start(processes, "worker", "deliver")
    token = requests.post(f"{processes.url}/v1/auth/token", json={"api_key": shop.key}).json()["data"]["token"]
    headers = {"Authorization": f"Bearer {token}"}
    time.sleep(2)
    for n in range(3):
        before = len(shop.receiver.received)
        url = f"{processes.url}/v1/customer/{shop.customers[0]}/credit"
        assert requests.put(url, json={"credit": n}, headers=headers).ok
        until(lambda: len(shop.receiver.received) > before, 10, "delivered with no clock running")  # noqa: B023
        time.sleep(0.5)
