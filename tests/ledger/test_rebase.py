"""`flask ledger rebase`: a feed goes on where a dump was restored into a cluster whose transaction ids begin again."""

from __future__ import annotations

import threading
from decimal import Decimal

import pytest
from sqlalchemy import text

from service.access.keys import create_client
from service.db.transaction import transaction
from service.errors import Unavailable
from service.ledger.append import append_one
from service.ledger.command import Caller, set_credit
from service.ledger.proof.rebase import rebase
from service.ledger.proof.replay import Break
from service.ledger.proof.verify import verify
from tests.support.client import add_customer
from tests.support.ledger import events, rows
from tests.support.processes import until
from tests.support.tampering import run_flask, tamper

BEYOND = 10**12


@pytest.fixture
def restored(own_engine):
    """A customer whose events come from a cluster that had seen more transactions."""
    client = create_client(own_engine, "client")
    customer = add_customer(own_engine, client)
    tamper(own_engine, f"UPDATE ledger_event SET position = {BEYOND}", f"UPDATE stream SET last_position = {BEYOND}")
    return client, customer


def horizon(engine):
    return rows(engine, "SELECT feed_horizon()")[0][0]


def test_positions_that_no_transaction_can_have_made_are_named(own_engine, restored):
    with pytest.raises(Break) as caught:
        verify(own_engine)
    assert (caught.value.what, caught.value.found) == ("position", str(BEYOND))
    assert "flask ledger rebase" in caught.value.sentence


def test_new_positions_lie_above_the_old_ones_and_the_feed_shows_both(own_engine, restored):
    client, customer = restored
    assert horizon(own_engine) < BEYOND
    assert rebase(own_engine) == BEYOND
    verify(own_engine)
    append_one(own_engine, set_credit(Caller(client, "key:1"), f"id:{customer}", Decimal(1)))
    old, new = (event.position for event in events(own_engine, customer)[:2])
    assert old < new
    until(lambda: horizon(own_engine) > new)  # once no transaction of any database is older
    verify(own_engine)


def test_where_nothing_is_wrong_nothing_is_done(own_engine, restored):
    rebase(own_engine)
    assert rebase(own_engine) is None
    assert rows(own_engine, "SELECT base FROM feed_base") == [(BEYOND,)]


def test_it_waits_for_an_append_that_has_read_the_old_base(own_engine, restored, monkeypatch):
    with transaction(own_engine) as append_under_way:
        append_under_way.execute(text("SELECT base FROM feed_base"))
        thread = threading.Thread(target=rebase, args=(own_engine,))
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
    thread.join(10)
    assert rows(own_engine, "SELECT base FROM feed_base") == [(BEYOND,)]


def test_it_does_not_wait_for_ever(own_engine, restored, monkeypatch):
    monkeypatch.setattr("service.ledger.proof.rebase._WAIT_AT_MOST", text("SET LOCAL lock_timeout = '100ms'"))
    with transaction(own_engine) as append_under_way:
        append_under_way.execute(text("SELECT base FROM feed_base"))
        with pytest.raises(Unavailable):
            rebase(own_engine)


def test_the_command_says_what_it_did(own_engine, own_database, restored):
    done = run_flask(own_database, "ledger", "rebase")
    assert (done.returncode, done.stdout) == (0, f"New positions begin above {BEYOND}.\n"), done.stderr
    done = run_flask(own_database, "ledger", "rebase")
    assert (done.returncode, done.stdout) == (0, "Nothing to do.\n")


@pytest.mark.parametrize("command", ["verify", "checkpoint", "rebuild", "rebase"])
def test_every_command_of_the_ledger_has_help(app, command):
    done = app.test_cli_runner().invoke(args=["ledger", command, "--help"])
    assert (done.exit_code, "Usage" in done.output) == (0, True)
