"""`flask ledger verify`: what holds is found to hold, and what does not is named."""

from __future__ import annotations

import threading
import tracemalloc
import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service import clock
from service.access.keys import create_client
from service.errors import NotFound
from service.ledger.append import append, append_one
from service.ledger.command import (
    Caller,
    Why,
    add_caller_id,
    add_credit,
    capture,
    hold,
    release,
    reverse,
    set_credit,
    set_limits,
    set_status,
)
from service.ledger.drain import SHARDS, drain
from service.ledger.event import Status
from service.ledger.proof.chain import NOTHING, framed, framed_at_once
from service.ledger.proof.history import Selection
from service.ledger.proof.verify import verify
from tests.support.client import add_customer
from tests.support.ledger import apply_everything, events, rows
from tests.support.tampering import AWKWARD, broken, fit_head, rehash, run_flask, tamper

TOMORROW = clock.now() + timedelta(days=1)


@pytest.fixture
def client(own_engine):
    return create_client(own_engine, "công ty")


def live(engine, client, **fields):
    """A customer with an event of every kind; the last three are not applied yet."""
    caller = Caller(client, "key:1", "request", "key")
    limits = {"creditlimit": Decimal(50), "credit_notification": Decimal("5.5")}
    customer = add_customer(engine, client, credit=Decimal(100), **limits, **fields)
    ref, why = f"id:{customer}", Why(AWKWARD, f"{AWKWARD} {uuid.uuid4()}")
    append_one(engine, set_credit(caller, ref, Decimal("80.12345"), why))
    append_one(engine, set_status(caller, ref, Status.SUSPENDED, Why(AWKWARD)))
    taken = append_one(engine, add_credit(caller, ref, Decimal("-20.5"), Why("\x01")))
    append_one(engine, reverse(caller, (customer, taken.seq), Decimal("0.5")))
    append_one(engine, reverse(caller, (customer, taken.seq), None))
    held = [append_one(engine, hold(caller, ref, Decimal(10), TOMORROW)).seq for _ in range(4)]
    append_one(engine, capture(caller, (customer, held[0]), Decimal("2.5")))
    append_one(engine, capture(caller, (customer, held[1]), None))
    append_one(engine, release(caller, (customer, held[2])))
    append_one(engine, set_limits(caller, ref, {"creditlimit": None, "credit_notification": Decimal(70)}))
    append_one(engine, add_caller_id(caller, customer, "0899"))
    apply_everything(engine)
    append_one(engine, set_limits(caller, ref, {"creditlimit": Decimal(5)}))
    assert append_one(engine, set_credit(caller, ref, Decimal(1))).last_seq == events(engine, customer)[-1].seq
    return customer


@pytest.fixture
def customer(own_engine, client):
    return live(own_engine, client)


def test_a_ledger_with_every_kind_of_event_holds(own_engine, client, customer):
    kinds = {event.kind for event in events(own_engine, customer)}
    assert {"credit.low", "credit.exhausted", "credit.reversed", "hold.captured", "callerid.added"} <= kinds
    other = live(own_engine, client)
    found = verify(own_engine)
    assert found.customers == 2
    assert found.events == len(events(own_engine, customer)) + len(events(own_engine, other))


PLAIN = st.none() | st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\\\'), max_size=40)


@given(st.lists(PLAIN, min_size=20, max_size=20))
def test_the_quick_way_to_frame_an_event_and_the_exact_one_agree(fields):
    copied = [NOTHING if field is None else field.encode() for field in fields]
    assert framed_at_once(copied) == framed(2, fields)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20))
def test_whatever_text_an_event_holds_its_hash_is_found(own_engine, client, reason):
    caller = Caller(client, "key:1", reason, reason)
    customer = add_customer(own_engine, client)
    append_one(own_engine, set_credit(caller, f"id:{customer}", Decimal(1), Why(reason)))
    assert verify(own_engine, Selection(customer_id=customer)).events == 2


def test_an_empty_ledger_holds(own_engine):
    assert verify(own_engine).events == 0


CHANGED_EVENTS = [
    ("amount = amount + 1", "hash"),
    ("reason = 'other'", "hash"),
    ("reason = NULL", "hash"),
    ("recorded_at = recorded_at + interval '1 microsecond'", "hash"),
    ("hash = sha256('')", "hash"),
    ("actor = 'key:2'", "hash"),
    ("command_id = gen_random_uuid()", "hash"),
    ("idempotency_key = NULL", "hash"),
    ("hash_format = 1", "hash"),
    ("hash_format = 7", "hash"),
    ("position = 1", "position"),
    ("position = position + 1000", "position"),
    ("recorded_at = 'infinity'", "hash"),
]


@pytest.mark.parametrize(("change", "what"), CHANGED_EVENTS)
def test_a_changed_event_is_named(own_engine, customer, change, what):
    tamper(own_engine, f"UPDATE ledger_event SET {change} WHERE seq = 2")
    found = broken(own_engine)
    assert (found.customer_id, found.seq) in {(customer, 2), (customer, 3)}
    assert found.what == what
    assert found.sentence.startswith(f"customer {customer}, event {found.seq}: {what} should be ")


REWRITTEN_EVENTS = [
    (2, "delta = delta + 1", "balance_after"),
    (2, "balance_after = balance_after + 1, delta = delta + 1", "balance_after"),
    (2, "status_after = 5", "status_after"),
    (2, "held_after = 1", "held_after"),
    (2, "creditlimit_after = 1000", "creditlimit_after"),
    (2, "kind = 'customer.created'", "the place of customer.created"),
    (2, "kind = 'credit.given'", "kind"),
    (2, "client_id = gen_random_uuid()", "client_id"),
    (3, "amount = 5", "amount"),
    (3, "recorded_at = recorded_at - interval '1 day'", "recorded_at"),
    (5, "amount = 1", "delta"),
    (5, "refers_to = 3", "refers_to"),
    (6, "refers_to = 99", "refers_to"),
    (7, "amount = 9", "held_after"),
    (11, "refers_to = 2", "refers_to"),
    (11, "amount = 99", "amount"),
    (11, "amount = 3", "delta"),
    (13, "held_after = held_after + 1", "held_after"),
    (14, "creditlimit_after = 51", "creditlimit_after"),
    (14, "detail = '[]'", "detail"),
    (15, "delta = 0.5, balance_after = balance_after + 0.5", "delta"),
]


@pytest.mark.parametrize(("seq", "change", "what"), REWRITTEN_EVENTS)
def test_an_event_that_breaks_a_rule_is_named_though_all_hashes_fit(own_engine, customer, seq, change, what):
    tamper(own_engine, f"UPDATE ledger_event SET {change} WHERE seq = {seq}")
    rehash(own_engine, customer)
    found = broken(own_engine)
    assert (found.customer_id, found.seq, found.what) == (customer, seq, what), found.sentence


DERIVED = [
    ("stream", "balance = balance + 1", "balance of the head"),
    ("stream", "held = held + 1", "held of the head"),
    ("stream", "status = 3", "status of the head"),
    ("stream", "creditlimit = 4", "creditlimit of the head"),
    ("stream", "credit_notification = NULL", "credit_notification of the head"),
    ("stream", "last_seq = last_seq + 1", "last_seq of the head"),
    ("stream", "last_hash = ''", "last_hash of the head"),
    ("stream", "last_at = now()", "last_at of the head"),
    ("stream", "status_at = NULL", "status_at of the head"),
    ("stream", "last_position = last_position + 1", "last_position of the head"),
    ("stream", "client_id = gen_random_uuid()", "client_id of the stream"),
    ("customer", "credit = credit + 0.00001", "credit of the customer"),
    ("customer", "held = 0", "held of the customer"),
    ("customer", "status = 0", "status of the customer"),
    ("customer", "creditlimit = 1", "creditlimit of the customer"),
    ("customer", "credit_notification = 1", "credit_notification of the customer"),
    ("customer", "applied_seq = applied_seq - 1", "its row in the outbox"),
    ("customer", "applied_seq = 1", "credit of the customer"),
    ("customer", "applied_seq = 999", "applied_seq of the customer"),
    ("outbox", "seq = seq + 1000", "the event of a row in the outbox"),
    ("hold", "amount = 11 WHERE seq = 7", "the hold's amount"),
    ("hold", "expires_at = expires_at + interval '1 s' WHERE seq = 7", "the hold's expires_at"),
    ("hold", "captured = 3 WHERE seq = 7", "the captured amount of its hold"),
    ("hold", "status = 'released' WHERE seq = 7", "the status of its hold"),
    ("hold", "closed_seq = 12 WHERE seq = 7", "the closed_seq of its hold"),
    ("hold", "status = 'released', closed_seq = 12 WHERE seq = 10", "the hold's status"),
    ("hold", "seq = 99 WHERE seq = 7", "the row of the hold"),
]


@pytest.mark.parametrize(("table", "change", "what"), DERIVED)
def test_whatever_is_derived_from_the_events_is_compared(own_engine, customer, table, change, what):
    tamper(own_engine, f"UPDATE {table} SET {change}")
    found = broken(own_engine)
    assert (found.customer_id, found.what) == (customer, what), found.sentence


MISSING = [
    (["DELETE FROM ledger_event WHERE seq = 3"], 3, "the next event"),
    (["DELETE FROM ledger_event WHERE seq > 4"], 4, "last_seq of the head"),
    (["DELETE FROM ledger_event"], 1, "the first event"),
    (["DELETE FROM stream"], None, "the stream"),
    (["DELETE FROM customer"], None, "the customer"),
    (["DELETE FROM stream", "DELETE FROM customer", "DELETE FROM hold", "DELETE FROM outbox"], 1,
     "the customer of this event"),
    (["DELETE FROM hold WHERE seq = 8"], 8, "the row of the hold"),
]  # fmt: skip


@pytest.mark.parametrize(("statements", "seq", "what"), MISSING)
def test_whatever_is_missing_is_named(own_engine, customer, statements, seq, what):
    tamper(own_engine, *statements)
    found = broken(own_engine)
    assert (found.customer_id, found.seq, found.what) == (customer, seq, what), found.sentence


def test_a_hold_that_no_event_made_is_found(own_engine, client, customer):
    tamper(
        own_engine,
        "INSERT INTO hold (customer_id, seq, client_id, amount, expires_at) VALUES (:id, 2, :client, 1, now())",
        id=customer,
        client=client,
    )
    assert broken(own_engine).what == "the number of holds"


def test_a_missing_outbox_row_is_named_by_its_event(own_engine, customer):
    unapplied = [row.seq for row in rows(own_engine, "SELECT seq FROM outbox ORDER BY seq")]
    tamper(own_engine, "DELETE FROM outbox WHERE seq = :seq", seq=unapplied[1])
    found = broken(own_engine)
    assert (found.seq, found.what) == (unapplied[1], "its row in the outbox")


def test_two_events_that_changed_places_are_found(own_engine, customer):
    tamper(
        own_engine,
        "UPDATE ledger_event SET seq = -seq WHERE seq IN (3, 4)",
        "UPDATE ledger_event SET seq = 7 + seq WHERE seq < 0",
    )
    found = broken(own_engine)
    assert (found.customer_id, found.seq, found.what) == (customer, 3, "hash")


def test_a_selection_proves_its_own_customers_only(own_engine, client, customer):
    other_client = create_client(own_engine, "other")
    other = live(own_engine, other_client)
    tamper(own_engine, "UPDATE ledger_event SET reason = 'x' WHERE customer_id = :id AND seq = 2", id=other)
    assert verify(own_engine, Selection(client_id=client)).customers == 1
    assert verify(own_engine, Selection(customer_id=customer)).customers == 1
    for selection in (Selection(client_id=other_client), Selection(customer_id=other), Selection()):
        assert broken(own_engine, selection=selection).customer_id == other
    with pytest.raises(NotFound, match="there is no customer 99999"):
        verify(own_engine, Selection(customer_id=99999))


def test_it_works_through_more_customers_than_one_part_holds(own_engine, client, monkeypatch):
    monkeypatch.setattr("service.ledger.proof.history.CUSTOMERS", 2)
    customers = [add_customer(own_engine, client) for _ in range(5)]
    for selection in (Selection(), Selection(client_id=client)):
        assert verify(own_engine, selection).customers == 5
    tamper(own_engine, "UPDATE customer SET held = 1 WHERE id = :id", id=customers[-1])
    assert broken(own_engine).customer_id == customers[-1]
    assert broken(own_engine, selection=Selection(client_id=client)).customer_id == customers[-1]


def test_writes_and_drains_may_go_on_meanwhile(own_engine, client):
    customers = [add_customer(own_engine, client) for _ in range(8)]
    caller, done = Caller(client, "key:1"), threading.Event()

    def write():
        while not done.is_set():
            append(own_engine, [add_credit(caller, f"id:{customer}", Decimal("0.5")) for customer in customers])

    def apply():
        while not done.is_set():
            for shard in range(SHARDS):
                drain(own_engine, shard, lambda *_: 0)

    threads = [threading.Thread(target=work) for work in (write, write, apply)]
    for thread in threads:
        thread.start()
    try:
        found = [verify(own_engine).events for _ in range(10)]
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert found == sorted(found)
    assert found[-1] > found[0]


def test_memory_does_not_grow_with_the_events_of_a_stream(own_engine, client):
    customer = add_customer(own_engine, client)
    peaks = [_peak(own_engine, client, customer, more) for more in (2_000, 38_000)]
    assert peaks[1] < peaks[0] * 1.2 + 100_000


def _peak(engine, client, customer, more):
    """Bytes at most while a stream is verified that has grown by so many events."""
    caller = Caller(client, "key:1")
    for _ in range(0, more, 500):
        append(engine, [add_credit(caller, f"id:{customer}", Decimal(1), Why("x" * 50)) for _ in range(500)])
    verify(engine)  # once for what is made once
    tracemalloc.start()
    try:
        verify(engine)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class TestTheCommand:
    def test_it_ends_with_0_where_all_holds_and_with_1_and_the_place_where_not(
        self, own_engine, own_database, customer
    ):
        good = run_flask(own_database, "ledger", "verify")
        assert good.returncode == 0, good.stderr
        assert "1 customers with 19 events: everything holds." in good.stdout
        assert "There is no checkpoint yet" in good.stdout
        tamper(own_engine, "UPDATE ledger_event SET amount = 7 WHERE seq = 2")
        bad = run_flask(own_database, "ledger", "verify", "--client", "công ty")
        assert bad.returncode == 1
        assert f"customer {customer}, event 2: hash should be " in bad.stderr

    @pytest.mark.parametrize(
        ("words", "status", "sentence"),
        [
            (("--client", "nobody"), 1, "there is no client 'nobody'"),
            (("--customer", "999999999"), 1, "there is no customer 999999999"),
            (("--customer", "x"), 2, "not a valid integer"),
            (("--customer", "1", "--client", "nobody"), 2, "exclude each other"),
            (("--checkpoint", "0"), 2, "is not in the range"),
            (("--help",), 0, "Prove that the ledger holds"),
        ],
    )
    def test_what_is_wrong_is_said_in_one_sentence(self, app, words, status, sentence):
        done = app.test_cli_runner().invoke(args=["ledger", "verify", *words])
        assert (done.exit_code, sentence in done.output) == (status, True), done.output


def test_fit_head_fits(own_engine, customer):
    """The tests of checkpoints lean on this: a tail that was cut off with care leaves nothing that verify could see."""
    apply_everything(own_engine)
    tamper(own_engine, "DELETE FROM ledger_event WHERE seq > 15")
    fit_head(own_engine, customer)
    tamper(own_engine, "UPDATE stream SET creditlimit = NULL", "UPDATE customer SET creditlimit = NULL")
    assert verify(own_engine).events == 15
