"""`flask ledger rebuild`: a projection that was spoiled is right again, and nobody read anything wrong on the way."""

from __future__ import annotations

import random
import threading
import uuid
from collections import defaultdict
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text

from service.access.keys import create_client
from service.db.transaction import reading, transaction
from service.errors import NotFound
from service.ledger.append import append, append_one
from service.ledger.command import Caller, add_credit, charge_call, set_credit, set_limits, set_status
from service.ledger.drain import SHARDS, drain, shard_of
from service.ledger.event import Status
from service.ledger.proof.history import Selection
from service.ledger.proof.rebuild import Rebuilt, rebuild
from service.ledger.proof.verify import verify
from service.webhooks.endpoints import add_endpoint
from service.webhooks.owe import owe
from service.webhooks.vault import Vault
from tests.support.client import add_customer
from tests.support.ledger import apply_everything, assert_applied, change_log, events, projection, rows
from tests.support.tampering import run_flask, tamper


@pytest.fixture
def client(own_engine):
    return create_client(own_engine, "client")


def live(engine, client, **fields):
    """A customer with six events, all applied."""
    customer = add_customer(engine, client, credit=Decimal(10), creditlimit=Decimal(5), **fields)
    caller, ref = Caller(client, "key:1"), f"id:{customer}"
    append_one(engine, set_credit(caller, ref, Decimal("12.34567")))
    append_one(engine, set_status(caller, ref, Status.SUSPENDED))
    append_one(engine, set_limits(caller, ref, {"creditlimit": Decimal(50), "credit_notification": Decimal(3)}))
    append_one(engine, add_credit(caller, ref, Decimal(-1)))
    append_one(engine, set_limits(caller, ref, {"creditlimit": Decimal(7)}))
    apply_everything(engine)
    return customer


@pytest.fixture
def customers(own_engine, client):
    return [live(own_engine, client) for _ in range(4)]


def row_version(engine, customer):
    return rows(engine, "SELECT xmin::text, ctid::text FROM customer WHERE id = :id", id=customer)


SPOILED = [
    "credit = credit + 1",
    "held = 4",
    "status = 3",
    "creditlimit = NULL",
    "credit_notification = 99",
    "status_at = NULL",
    "status_at = '2020-01-01', applied_seq = 0, credit = 0",
    "applied_seq = applied_seq - 3",
    "applied_seq = 0, credit = 0",
    "applied_seq = applied_seq + 3",
    "credit = 1, held = 1, status = 0, creditlimit = 1, credit_notification = NULL, applied_seq = 0",
]


@pytest.mark.parametrize("spoil", SPOILED)
def test_a_spoiled_row_is_put_right_and_no_other_is_touched(own_engine, customers, spoil):
    spoiled, *healthy = customers
    right = projection(own_engine, spoiled)
    tamper(own_engine, f"UPDATE customer SET {spoil} WHERE id = :id", id=spoiled)
    before = [row_version(own_engine, customer) for customer in healthy]
    assert rebuild(own_engine) == Rebuilt(customers=4, corrected=1)
    assert projection(own_engine, spoiled) == right
    assert [row_version(own_engine, customer) for customer in healthy] == before
    assert rebuild(own_engine) == Rebuilt(customers=4)
    verify(own_engine)


CALLS = ["2024-05-06T07:08:09Z", "2024-05-04T07:08:09.5Z", "2024-05-05T01:00:00+07:00"]
FIRST, LAST = (datetime.fromisoformat(CALLS[n]) for n in (1, 0))


def charge(engine, client, customer, start_time):
    """A call of a moment, charged, and applied where that is possible."""
    call = {"uniqueid": "1", "start_time": start_time}
    append_one(engine, charge_call(Caller(client, "key:1"), customer, Decimal(1), call, uuid.uuid4()))
    apply_everything(engine)


@pytest.mark.parametrize(
    "spoil",
    [
        "firstusedate = NULL, lastuse = NULL",
        "firstusedate = lastuse, lastuse = firstusedate",
        "firstusedate = NULL, lastuse = NULL, applied_seq = 0, credit = 0",
    ],
)
def test_a_customer_is_known_again_to_have_been_used_when_its_calls_began(own_engine, client, customers, spoil):
    customer, *healthy = customers
    for start in CALLS:
        charge(own_engine, client, customer, start)
    right = projection(own_engine, customer)
    assert (right.firstusedate, right.lastuse) == (FIRST, LAST)
    tamper(own_engine, f"UPDATE customer SET {spoil} WHERE id = :id", id=customer)
    before = [row_version(own_engine, each) for each in healthy]
    assert rebuild(own_engine) == Rebuilt(customers=4, corrected=1)
    assert projection(own_engine, customer) == right
    assert [row_version(own_engine, each) for each in healthy] == before
    assert rebuild(own_engine) == Rebuilt(customers=4)


def test_uses_that_no_event_tells_of_are_kept(own_engine, client):
    used = {"firstusedate": FIRST - timedelta(days=900), "lastuse": LAST + timedelta(days=900)}
    customer = add_customer(own_engine, client, **used)
    charge(own_engine, client, customer, CALLS[0])
    tamper(own_engine, "UPDATE customer SET credit = 7 WHERE id = :id", id=customer)
    assert rebuild(own_engine) == Rebuilt(customers=1, corrected=1)
    row = projection(own_engine, customer)
    assert {"firstusedate": row.firstusedate, "lastuse": row.lastuse} == used


def test_a_call_that_is_not_applied_is_no_use_yet_and_one_of_no_moment_never(own_engine, client, customers):
    customer = customers[0]
    charge(own_engine, client, customer, CALLS[0])
    charge(own_engine, client, customer, "2024-02-30T00:00:00Z")
    assert projection(own_engine, customer).parked_at
    assert rebuild(own_engine) == Rebuilt(customers=4)
    tamper(own_engine, "UPDATE customer SET lastuse = NULL WHERE id = :id", id=customer)
    assert rebuild(own_engine) == Rebuilt(customers=4, corrected=1)
    apply_everything(own_engine)
    row = projection(own_engine, customer)
    assert (row.lastuse, row.parked_reason) == (LAST, "event 8: its start_time is not a moment")


@pytest.mark.parametrize("start", ["infinity", "20000-01-01T00:00:00Z", "nonsense", 5, None])
def test_a_call_of_no_moment_stops_no_rebuild(own_engine, client, customers, start):
    customer = customers[0]
    charge(own_engine, client, customer, CALLS[0])
    charge(own_engine, client, customer, start)
    tamper(own_engine, "UPDATE customer SET applied_seq = 8, parked_at = NULL, firstusedate = NULL, lastuse = NULL "
           "WHERE id = :id", id=customer)  # fmt: skip
    assert rebuild(own_engine).corrected == 1
    row = projection(own_engine, customer)
    assert (row.firstusedate, row.lastuse) == (LAST, LAST)


def test_holes_in_the_change_log_are_filled_from_the_events(own_engine, customers):
    customer = customers[0]
    right = [row[:11] for row in change_log(own_engine, customer)]
    tamper(own_engine, "DELETE FROM change_log WHERE customer_id = :id AND seq IN (1, 3, 5)", id=customer)
    assert rebuild(own_engine) == Rebuilt(customers=4, logged=3)
    assert [row[:11] for row in change_log(own_engine, customer)] == right


def test_an_event_that_is_not_applied_gets_its_outbox_row_back_and_is_applied_once(own_engine, client, customers):
    customer = customers[0]
    append(own_engine, [add_credit(Caller(client, "key:1"), f"id:{customer}", Decimal(1)) for _ in range(3)])
    tamper(own_engine, "DELETE FROM outbox WHERE seq = 8", "UPDATE customer SET credit = 0 WHERE id = :id", id=customer)
    assert rebuild(own_engine) == Rebuilt(customers=4, corrected=1, queued=1)
    assert projection(own_engine, customer).applied_seq == 6
    verify(own_engine)
    assert apply_everything(own_engine) == 3
    assert_applied(own_engine, customer)


def test_what_was_owed_for_an_applied_event_is_not_owed_again(own_engine, client, customers):
    from ipaddress import ip_network

    vault = Vault("the key of a test")
    add_endpoint(own_engine, client, "http://127.0.0.1:9/", vault=vault, allow_networks=[ip_network("127.0.0.0/8")])
    append_one(own_engine, add_credit(Caller(client, "key:1"), f"id:{customers[0]}", Decimal(1)))
    apply_everything(own_engine)
    owed = rows(own_engine, "SELECT count(*) FROM webhook_delivery")
    assert owed[0].count > 0
    tamper(own_engine, "UPDATE customer SET applied_seq = 2")
    rebuild(own_engine)
    assert apply_everything(own_engine) == 0
    assert rows(own_engine, "SELECT count(*) FROM webhook_delivery") == owed


def test_a_customer_that_was_parked_for_its_row_is_tried_again(own_engine, client, customers):
    customer = customers[0]
    tamper(own_engine, "UPDATE customer SET credit = 0 WHERE id = :id", id=customer)
    append_one(own_engine, add_credit(Caller(client, "key:1"), f"id:{customer}", Decimal(1)))
    apply_everything(own_engine)
    assert projection(own_engine, customer).parked_at
    assert rebuild(own_engine).corrected == 1
    assert apply_everything(own_engine) == 1
    assert_applied(own_engine, customer)


def test_a_customer_whose_events_are_all_waiting_is_left_as_it_is(own_engine, client):
    customer = add_customer(own_engine, client, credit=Decimal(9), status=Status.SUSPENDED, creditlimit=Decimal(1))
    assert rebuild(own_engine) == Rebuilt(customers=1)
    tamper(own_engine, "UPDATE customer SET credit = 1")
    assert rebuild(own_engine) == Rebuilt(customers=1, corrected=1)
    apply_everything(own_engine)
    assert_applied(own_engine, customer)
    verify(own_engine)


def test_a_selection_is_all_that_is_rebuilt(own_engine, client, customers, monkeypatch):
    monkeypatch.setattr("service.ledger.proof.rebuild.BATCH", 1)
    other_client = create_client(own_engine, "other")
    other = live(own_engine, other_client)
    tamper(own_engine, "UPDATE customer SET credit = 1")
    assert rebuild(own_engine, Selection(customer_id=customers[1])) == Rebuilt(customers=1, corrected=1)
    assert rebuild(own_engine, Selection(client_id=other_client)) == Rebuilt(customers=1, corrected=1)
    assert projection(own_engine, other).credit == Decimal("11.34567")
    seen = []
    assert rebuild(own_engine, progress=seen.append) == Rebuilt(customers=5, corrected=3)
    assert sum(seen) == 5


def test_nobody_reads_a_wrong_value_of_a_healthy_customer_while_everything_goes_on(own_engine, client, monkeypatch):
    monkeypatch.setattr("service.ledger.proof.rebuild.BATCH", 3)
    customers = [live(own_engine, client) for _ in range(48)]
    spoiled, healthy = customers[::2], customers[1::2]
    tamper(
        own_engine,
        """UPDATE customer SET credit = -1, held = 7, status = 0, applied_seq = 2
           WHERE id = ANY (CAST(:ids AS bigint[]))""",
        ids=spoiled,
    )
    done, failures, seen = threading.Event(), [], defaultdict(set)

    def forever(act):
        def run():
            chance = random.Random(1)
            try:
                while not done.is_set():
                    act(chance)
            except Exception as error:
                failures.append(error)

        return threading.Thread(target=run)

    def write(chance):
        caller = Caller(client, "key:1")
        some = chance.sample(customers, 5)
        append(own_engine, [add_credit(caller, f"id:{customer}", Decimal(chance.randint(1, 99))) for customer in some])

    def apply(_):
        for shard in range(SHARDS):
            drain(own_engine, shard, owe)

    def read(_):
        with reading(own_engine) as connection:
            for row in connection.execute(_SHOWN, {"ids": healthy}):
                seen[row.id].add(tuple(row[1:]))

    threads = [forever(act) for act in (write, write, apply, apply, read)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(6):
            rebuild(own_engine)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert failures == []
    rebuild(own_engine)
    apply_everything(own_engine)
    for customer in healthy:
        states = {(e.seq, e.balance_after, e.held_after, e.status_after) for e in events(own_engine, customer)}
        assert seen[customer] <= states
    for customer in customers:
        assert_applied(own_engine, customer)
    assert any(len(values) > 1 for values in seen.values())
    verify(own_engine)


_SHOWN = text("SELECT id, applied_seq, credit, held, status FROM customer WHERE id = ANY (CAST(:ids AS bigint[]))")


def test_it_waits_for_a_drain_of_the_shard_and_no_append_waits_for_it(own_engine, client, customers):
    customer = customers[0]
    tamper(own_engine, "UPDATE customer SET credit = 0 WHERE id = :id", id=customer)
    with transaction(own_engine) as drain_under_way:
        lock = text("SELECT pg_advisory_xact_lock(hashtext('ledger_shard'), :shard)")
        drain_under_way.execute(lock, {"shard": shard_of(customer)})
        thread = threading.Thread(target=rebuild, args=(own_engine, Selection(customer_id=customer)))
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        assert projection(own_engine, customer).credit == 0
        append_one(own_engine, set_credit(Caller(client, "key:1"), f"id:{customer}", Decimal(5)))
    thread.join(10)
    assert projection(own_engine, customer).credit == Decimal("11.34567")


class TestTheCommand:
    def test_it_says_what_was_put_right(self, own_engine, own_database, customers):
        tamper(own_engine, "UPDATE customer SET credit = 1 WHERE id = :id", id=customers[0])
        tamper(own_engine, "DELETE FROM change_log WHERE seq = 2")
        done = run_flask(own_database, "ledger", "rebuild")
        assert done.returncode == 0, done.stderr
        assert done.stdout == "4 customers: 1 corrected, 4 change log rows, 0 outbox rows and 0 references added.\n"
        verify(own_engine)

    @pytest.mark.parametrize(
        ("words", "status", "sentence"),
        [
            (("--client", "nobody"), 1, "there is no client 'nobody'"),
            (("--customer", "999999999"), 1, "there is no customer 999999999"),
            (("--customer", "1", "--client", "nobody"), 2, "exclude each other"),
            (("--help",), 0, "Only what is wrong is changed."),
        ],
    )
    def test_what_is_wrong_is_said_in_one_sentence(self, app, words, status, sentence):
        done = app.test_cli_runner().invoke(args=["ledger", "rebuild", *words])
        assert (done.exit_code, sentence in done.output) == (status, True), done.output


def test_a_customer_that_is_not_there_is_no_success(own_engine):
    assert rebuild(own_engine, Selection(customer_id=5)) == Rebuilt()
    with pytest.raises(NotFound):
        verify(own_engine, Selection(customer_id=5))
