"""Eight senders bring the same 2,000 calls while web and worker processes are killed: each is charged once."""

from __future__ import annotations

import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import requests

from service.access.keys import create_client, create_key
from service.clock import rfc3339
from service.ledger.proof.verify import verify
from tests.support.client import add_customer
from tests.support.ledger import assert_applied, assert_sound, rows, stream
from tests.support.processes import until

CALLS, CUSTOMERS = 2_000, 20
SIZES = (5, 9, 33, 50, 128, 250, 500, 1000)
START = datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC)


def source(n):
    return f"0283{n % CUSTOMERS:04}"


@pytest.fixture
def client(own_engine):
    return create_client(own_engine, "switchboard")


@pytest.fixture
def customers(own_engine, client):
    return [add_customer(own_engine, client, caller_ids=[source(n)], credit=Decimal(50)) for n in range(CUSTOMERS)]


def calls():
    return [
        {
            "uniqueid": f"{n}.9", "source": source(n), "destination": "113", "duration": n % 90,
            "start_time": rfc3339(START + timedelta(seconds=n)), "amount": n % 13 / 4,
        }
        for n in range(CALLS)
    ]  # fmt: skip


def send(url, headers, sender, over):
    """All calls in an order and in batches of one sender's own, each until it is answered; how many were new."""
    mine, size, new = random.Random(sender).sample(calls(), CALLS), SIZES[sender], 0
    for begin in range(0, CALLS, size):
        batch = mine[begin : begin + size]
        while not over.is_set():
            try:
                answer = requests.post(f"{url}/v1/call/log", json.dumps(batch), headers=headers, timeout=20)
            except requests.RequestException:
                time.sleep(0.1)
                continue
            if answer.status_code == 503:
                time.sleep(0.05)
                continue
            assert answer.status_code == 200, answer.text
            assert answer.json()["failed"] == 0, answer.text
            new += answer.json()["stored"]
            break
    return new


def test_each_call_is_charged_exactly_once(processes, own_engine, client, customers):
    _, key = create_key(own_engine, client)
    web, worker = processes.start_web(), processes.start("worker")
    processes.start("clock")
    token = requests.post(f"{processes.url}/v1/auth/token", json={"api_key": key}, timeout=10).json()["data"]["token"]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    over = threading.Event()

    def stored():
        return rows(own_engine, "SELECT count(*) AS count FROM call_record")[0].count

    with ThreadPoolExecutor(len(SIZES)) as pool:
        sending = [pool.submit(send, processes.url, headers, n, over) for n in range(len(SIZES))]
        try:
            for kill in range(3):
                until(lambda kill=kill: stored() > 150 + 500 * kill or all(s.done() for s in sending), 60)
                processes.kill(web)
                processes.kill(worker)
                web, worker = processes.start_web(), processes.start("worker")
            told_new = sum(each.result(120) for each in sending)
        finally:
            over.set()
    assert stored() == CALLS
    assert told_new <= CALLS, "an answer that a kill swallowed counts for nobody"
    charges = rows(own_engine, "SELECT detail ->> 'uniqueid' AS uid FROM ledger_event WHERE kind = 'call.charged'")
    assert len(charges) == len({charge.uid for charge in charges}) == CALLS
    until(lambda: rows(own_engine, "SELECT count(*) AS n FROM outbox")[0].n == 0, 60, "all applied")
    for n, customer in enumerate(customers):
        owed = sum(Decimal(str(call["amount"])) for call in calls() if call["source"] == source(n))
        assert stream(own_engine, customer).balance == 50 - owed
        assert_sound(own_engine, customer)
        assert_applied(own_engine, customer)
    verify(own_engine)
    assert rows(own_engine, "SELECT sum(calls) AS n FROM call_tally WHERE hours = 24")[0].n == CALLS
