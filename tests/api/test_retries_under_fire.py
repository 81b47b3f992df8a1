"""Promises 8 and 11 where it is hardest: processes and sessions that die between a change, its commit and its answer.

Every caller does what callers are told to do: ask again with the same key until there is an answer.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
import pytest
import requests
from sqlalchemy.engine import make_url

from service.access.keys import create_client
from service.app import create_app
from tests.support.client import Answer, ApiClient, add_customer, api_client
from tests.support.ledger import assert_sound, rows

CUSTOMERS = 8
SECONDS = 5.0  # for which sessions are ended
LOST = 0.004  # seconds after which a caller hangs up: often after the commit, and before the answer
PATIENCE = 30.0  # seconds for one answer, however many retries that takes
NOT_NOW = {409, 503}


@dataclass
class Asked:
    """One thing that was asked for, and all answers but those that said only 'not now'."""

    reason: str
    changes: int
    statuses: Counter = field(default_factory=Counter)
    answer: Any = None
    replayed: bool = False


def top_up(customers, reason):
    customer = random.choice(customers)
    return "PUT", f"/v1/customer/{customer}/credit/add", {"credit": 1, "reason": reason}, 1


def hold(customers, reason):
    customer = random.choice(customers)
    return "POST", f"/v1/customer/{customer}/hold", {"amount": 1, "expires_in": 3600, "reason": reason}, 1


def bulk(customers, reason, atomic=False):
    commands = [
        {"type": "add", "customer": str(customers[n % len(customers)]), "credit": 1, "reason": reason,
         "reference": f"{reason}/{n}"}
        for n in range(50)
    ]  # fmt: skip
    return "POST", "/v1/ledger/bulk", {"commands": commands, "atomic": atomic}, len(commands)


def atomic_bulk(customers, reason):
    return bulk(customers, reason, atomic=True)


def ask_until_answered(send, request, asked):
    """Ask again with the same key, whatever happens to the one who answers."""
    method, path, body, _ = request
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            answer = send(method, path, body, {"Idempotency-Key": asked.reason})
        except requests.RequestException:
            asked.statuses["no answer"] += 1
            time.sleep(0.05)
            continue
        asked.statuses[answer.status] += 1
        if answer.status not in NOT_NOW:
            asked.answer, asked.replayed = answer, "Idempotency-Replayed" in answer.headers
            return
        time.sleep(0.02)
    raise AssertionError(f"no answer in {PATIENCE} s: {asked}")


class Callers:
    """Threads that ask for one thing after another until they are told to stop."""

    def __init__(self, send, customers, makers):
        self.send, self.customers = send, customers
        self.all_asked: list[Asked] = []
        self.failures: list[BaseException] = []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(n, make)) for n, make in enumerate(makers)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def run(self, who, make):
        turn = 0
        while not self.stopping.is_set() and not self.failures:
            reason = f"caller-{who}-{turn}"
            request = make(self.customers, reason)
            asked = Asked(reason, request[-1])
            self.all_asked.append(asked)
            try:
                ask_until_answered(self.send, request, asked)
            except BaseException as failure:
                self.failures.append(failure)
            turn += 1


def assert_each_exactly_once(engine, customers, callers):
    assert callers.failures == []
    said = Counter(dict(rows(engine, "SELECT reason, count(*) FROM ledger_event WHERE reason IS NOT NULL GROUP BY 1")))
    assert said == {asked.reason: asked.changes for asked in callers.all_asked}
    statuses = sum((asked.statuses for asked in callers.all_asked), Counter())
    assert set(statuses) <= {200, 409, 503, "no answer"}, statuses
    kinds = {e.id: e for e in rows(engine, "SELECT 'evt_' || customer_id || '_' || seq AS id, * FROM ledger_event")}
    for asked in callers.all_asked:
        assert_tells_the_truth(asked, kinds)
    for customer in customers:
        assert_sound(engine, customer)
    added = "SELECT coalesce(sum(delta), 0) FROM ledger_event WHERE kind = 'credit.added'"
    [(total,)] = rows(engine, added)
    assert total == sum(a.changes for a in callers.all_asked if a.answer.json.get("amount") is None)
    return statuses


def assert_tells_the_truth(asked, events):
    """What an answer says of an event is what the ledger says of it."""
    shown = asked.answer.json
    if "data" in shown:
        assert (shown["succeeded"], shown["failed"]) == (asked.changes, 0)
        told = {(each["event_id"], each["credit"]) for each in shown["data"]}
        assert len(told) == asked.changes
    else:
        told = {(asked.answer.headers["Ledger-Event"], shown.get("credit"))}
    for event_id, credit in told:
        assert events[event_id].reason == asked.reason
        assert credit in {None, events[event_id].balance_after}


@pytest.fixture
def shop(own_engine):
    client = create_client(own_engine, "under fire")
    return client, [add_customer(own_engine, client, credit=10_000) for _ in range(CUSTOMERS)]


def test_a_web_process_killed_again_and_again_makes_each_change_exactly_once(app, processes, own_engine, shop):
    client, customers = shop
    headers = api_client(app_of(app, own_engine), own_engine, client).headers
    local = threading.local()

    def send(method, path, body, more):
        if not hasattr(local, "http"):
            local.http = requests.Session()
        patience = random.choice([LOST, 10, 10, 10])
        done = local.http.request(
            method, processes.url + path, json=body, headers={**headers, **more}, timeout=patience
        )
        return Answer(done.status_code, done.headers, done.content)

    with Callers(send, customers, [top_up, top_up, top_up, hold, bulk, bulk, atomic_bulk]) as callers:
        for _ in range(6):
            web = processes.start_web()
            time.sleep(random.uniform(0.2, 1.0))
            processes.kill(web)
        processes.start_web()
        callers.stopping.set()
    statuses = assert_each_exactly_once(own_engine, customers, callers)
    assert statuses["no answer"] >= 6
    assert any(asked.statuses["no answer"] and asked.replayed for asked in callers.all_asked), "no answer was lost"


def app_of(app, engine):
    """An app of the same configuration on another database."""
    config = app.extensions["pbx-ledger"].config
    return create_app(replace(config, database_url=engine.url, database_pool_size=20))


@pytest.mark.parametrize(
    "makers", [[top_up, top_up, hold, hold], [bulk, bulk, atomic_bulk, top_up]], ids=["one", "many"]
)
def test_database_sessions_that_are_ended_make_each_change_exactly_once(app, own_engine, own_database, shop, makers):
    client, customers = shop
    api = api_client(app_of(app, own_engine), own_engine, client)

    def send(method, path, body, more):
        return ApiClient(api.app, api.client_id, api.key, api.headers).call(method, path, body, headers=more)

    ended = 0
    database = make_url(own_database)
    url = database.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as killer, Callers(send, customers, makers * 2) as callers:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            ended += killer.execute(END_ONE).rowcount
            time.sleep(random.uniform(0, 0.05))
    statuses = assert_each_exactly_once(own_engine, customers, callers)
    assert ended > 20
    assert statuses[200] == len(callers.all_asked) > 20


END_ONE = """
    SELECT pg_terminate_backend(pid) FROM (
        SELECT pid FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
          AND state <> 'idle'
        ORDER BY random() LIMIT 1) AS one
"""
