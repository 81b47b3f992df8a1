"""What others do while a page is written: another run, the API, whoever holds a stream."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from threading import Thread

import pytest
from sqlalchemy import text

from service.a2billing import importer
from service.errors import Unavailable
from service.ledger.append import append_within
from service.ledger.command import Caller, add_credit
from service.ledger.proof.verify import verify
from tests.a2billing.old_system import bring, furnish, reasons, tally
from tests.support.ledger import projection, rows, stream

WAITING = """
    SELECT locktype FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE NOT granted AND datname = current_database() ORDER BY 1
"""


@pytest.fixture
def brought(postgres, own_engine, home):
    """An A2Billing that was imported once."""
    furnish(postgres)
    bring(postgres, own_engine, home)
    return postgres


@contextmanager
def held(engine, statement, **parameters) -> Iterator:
    """A transaction that has executed a statement and is not over yet."""
    with engine.connect() as holder:
        holder.execution_options(isolation_level="READ COMMITTED")
        with holder.begin():
            holder.execute(text(statement), parameters)
            yield holder


class Running(Thread):
    """An import beside this thread; `report` is its report once it is through."""

    def __init__(self, old, engine, home) -> None:
        super().__init__(daemon=True)
        self.what = old, engine, home
        self.start()

    def run(self) -> None:
        self.outcome = bring(*self.what)

    @property
    def report(self):
        self.join(30)
        return self.outcome


def wait_until_waiting(engine, *locktypes):
    deadline = time.monotonic() + 20
    while [r.locktype for r in rows(engine, WAITING)] != list(locktypes):
        assert time.monotonic() < deadline, rows(engine, WAITING)
        time.sleep(0.02)


def test_a_page_waits_for_who_holds_a_stream_and_sees_what_they_did(brought, own_engine, home):
    brought.run("UPDATE cc_card SET credit = 99 WHERE id = 11")
    with held(own_engine, "SELECT FROM stream WHERE customer_id = 11 FOR UPDATE") as holder:
        run = Running(brought, own_engine, home)
        run.join(1)
        assert run.is_alive()
        append_within(holder, [add_credit(Caller(home, "test"), "id:11", Decimal(1))])
    assert reasons(run.report) == {("cc_card", 11): "credit was changed here as well, and left"}
    assert stream(own_engine, 11).balance == Decimal("12344.1234")


def test_two_runs_at_once_take_turns_page_by_page(postgres, own_engine, home):
    furnish(postgres)
    with held(own_engine, "INSERT INTO customer_group VALUES (:home, 1, 'held')", home=home) as holder:
        first = Running(postgres, own_engine, home)
        wait_until_waiting(own_engine, "transactionid")
        second = Running(postgres, own_engine, home)
        wait_until_waiting(own_engine, "advisory", "transactionid")
        holder.rollback()
    groups = [tally(each.report, "cc_card_group") for each in (first, second)]
    assert sorted(groups) == [(0, 2, 0, 0), (2, 0, 0, 0)]
    verify(own_engine)


def test_a_page_that_cannot_be_written_now_is_tried_again(brought, own_engine, home, monkeypatch):
    monkeypatch.setattr(importer, "LOCK_TIMEOUT", "100ms")
    monkeypatch.setattr(importer, "PAUSE", 0.2)
    brought.run("UPDATE cc_card SET credit = 99 WHERE id = 11")
    with held(own_engine, "SELECT FROM stream WHERE customer_id = 11 FOR UPDATE"):
        with pytest.raises(Unavailable):
            bring(brought, own_engine, home)
        run = Running(brought, own_engine, home)
        run.join(0.5)
        assert run.is_alive()
    assert tally(run.report, "cc_card") == (0, 2, 1, 0)
    assert stream(own_engine, 11).balance == 99


def test_a_caller_id_that_the_api_gives_to_somebody_meanwhile_is_theirs(brought, own_engine, home, monkeypatch):
    monkeypatch.setattr(importer, "PAUSE", 0.01)
    for number, cid in ((50, "0555"), (51, "0556")):
        brought.add("cc_callerid", id=number, cid=cid, id_cc_card=11)
    give = "INSERT INTO caller_id (client_id, cid, customer_id) VALUES (:home, '0555', 15)"
    with held(own_engine, give, home=home):
        run = Running(brought, own_engine, home)
        wait_until_waiting(own_engine, "transactionid")
    assert reasons(run.report) == {("cc_callerid", 50): "cid is there already, after cleaning"}
    owners = rows(own_engine, "SELECT cid, customer_id FROM caller_id WHERE cid LIKE '055%' ORDER BY cid")
    assert [tuple(r) for r in owners] == [("0555", 15), ("0556", 11)]
    assert tally(bring(brought, own_engine, home), "cc_callerid") == (0, 4, 0, 1)
    verify(own_engine)


def test_a_name_that_the_api_gives_to_somebody_meanwhile_is_theirs(brought, own_engine, home, monkeypatch):
    monkeypatch.setattr(importer, "PAUSE", 0.01)
    before = projection(own_engine, 11).username
    brought.run("UPDATE cc_card SET username = 'fresh' WHERE id = 11")
    give = "INSERT INTO customer (client_id, username, useralias) VALUES (:home, 'fresh', 'fresh')"
    with held(own_engine, give, home=home):
        run = Running(brought, own_engine, home)
        wait_until_waiting(own_engine, "transactionid")
    assert reasons(run.report) == {("cc_card", 11): "username is another customer's"}
    assert projection(own_engine, 11).username == before
