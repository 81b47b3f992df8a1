"""Exports with real processes: whatever is killed or flushed, the file has every call once."""

from __future__ import annotations

from decimal import Decimal

import pytest
import requests
from redis import Redis

from service.access.keys import create_client, create_key
from service.calls.export import create_export, find_export, read_file
from service.calls.wanted import Wanted
from service.db.transaction import transaction
from service.ledger.append import append_one
from service.ledger.command import Caller, set_credit
from tests.calls.test_export import QUARTER
from tests.support.client import add_customer
from tests.support.exports import QUARTER as PERIOD
from tests.support.exports import add_calls, every_call, rows_of
from tests.support.ledger import projection, rows
from tests.support.processes import until

KILLS = 5


class Exports:
    """Exports that a client has asked for, on a database of its own; nobody has rung for them."""

    def __init__(self, engine, name="export"):
        self.engine = engine
        self.client = create_client(engine, name)

    def ask(self):
        with transaction(self.engine) as tx:
            return create_export(tx, Wanted(self.client, QUARTER)).id

    def state(self, export):
        return find_export(self.engine, self.client, export)

    def being_written(self, export):
        [(token,)] = rows(self.engine, "SELECT lease_token FROM call_export WHERE id = :id", id=export)
        return token

    def end_lease(self, export):
        with transaction(self.engine) as tx:
            tx.exec_driver_sql("UPDATE call_export SET lease_until = now() WHERE id = %s", (export,))

    def assert_every_call_once(self, export):
        done = self.state(export)
        file = b"".join(read_file(self.engine, done))
        expected = every_call(self.engine, self.client)
        assert [row["id"] for row in rows_of(file)] == expected
        assert (done.written, done.size) == (len(expected), len(file))


@pytest.fixture
def exports(own_engine):
    return Exports(own_engine)


def test_workers_killed_in_the_middle_of_an_export_with_redis_flushed_each_time(processes, exports, valkey):
    add_calls(exports.engine, exports.client, 60_000)
    export = exports.ask()
    redis = Redis.from_url(valkey.url)
    processes.start("clock")
    for kill in range(KILLS):
        before = exports.state(export).chunks
        worker = processes.start("worker")
        until(lambda before=before: exports.state(export).chunks > before + 1, what="it goes on")
        until(lambda: exports.being_written(export))
        processes.kill(worker)
        redis.flushall()
        if kill and exports.being_written(export):  # the first lease is waited for, of the others the time is over
            exports.end_lease(export)
    assert exports.state(export).status == "running"
    processes.start("worker")
    until(lambda: exports.state(export).status == "done", 60, "the export is done")
    exports.assert_every_call_once(export)


def test_two_workers_write_the_exports_of_several_clients(processes, own_engine):
    several = [Exports(own_engine, f"client {n}") for n in range(3)]
    for exports in several:
        add_calls(own_engine, exports.client, 9_000)
    asked = [(exports, exports.ask()) for exports in several for _ in range(2)]
    for name in ("worker", "worker", "clock"):
        processes.start(name)
    for exports, export in asked:
        until(lambda exports=exports, export=export: exports.state(export).status == "done", 60)
        exports.assert_every_call_once(export)


def test_changes_are_applied_while_a_large_export_is_written_by_the_only_worker(processes, exports):
    add_calls(exports.engine, exports.client, 60_000)
    customer = add_customer(exports.engine, exports.client)
    export = exports.ask()
    processes.start("worker")
    processes.start("clock")
    until(lambda: exports.state(export).chunks)
    append_one(exports.engine, set_credit(Caller(exports.client, "test"), f"id:{customer}", Decimal(5)))
    until(lambda: projection(exports.engine, customer).credit == 5)
    assert exports.state(export).status == "running"


def test_with_no_clock_running_a_request_alone_has_it_written_and_a_real_server_sends_the_file(processes, exports):
    add_calls(exports.engine, exports.client, 9_000)
    processes.start_web()
    processes.start("worker")
    until(lambda: "ready" in processes.log_of("worker").read_text())
    key = {"api_key": create_key(exports.engine, exports.client)[1]}
    token = requests.post(f"{processes.url}/v1/auth/token", json=key).json()["data"]["token"]
    http = requests.Session()
    http.headers["Authorization"] = f"Bearer {token}"
    asked = http.post(f"{processes.url}/v1/call/export", json=PERIOD).json()
    done = until(lambda: found if (found := http.get(processes.url + asked["export"]).json())["download"] else None)
    file = http.get(processes.url + done["download"])
    assert len(rows_of(file.content)) == done["written"] == 9_000
    for answer in (file, http.head(processes.url + done["download"])):
        assert (answer.headers["Content-Type"], answer.headers["Content-Length"]) == (
            "application/gzip", str(done["size"]),
        )  # fmt: skip
        assert "Transfer-Encoding" not in answer.headers
