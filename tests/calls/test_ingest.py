"""Calls are stored and charged once, whoever brings them, in whatever order, however often and however many at once."""

from __future__ import annotations

import random
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from service import clock
from service.calls.call import NewCall, Stored, new_call
from service.calls.ingest import ingest
from service.calls.rematch import rematch
from service.customers.caller_ids import give_caller_id
from service.db.transaction import transaction
from service.errors import AmbiguousReference, Conflict, CustomerNotFound, Invalid
from service.ledger.command import Caller
from tests.support.ledger import apply_everything, assert_applied, assert_sound, events, projection, rows, stream

START = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


def call(uniqueid="1.1", **fields):
    given = {
        "uniqueid": uniqueid, "source": "0281", "destination": "113", "start_time": START, "duration": 38,
        "amount": Decimal("2.5"), "now": clock.now(), **fields,
    }  # fmt: skip
    return new_call(**given)


@pytest.fixture
def bring(engine, client_id):
    """Brings calls in one transaction."""

    def bring(*calls):
        with transaction(engine) as tx:
            return ingest(tx, Caller(client_id, "test"), calls)

    return bring


@pytest.fixture
def payer(new_customer):
    return new_customer(credit=Decimal(10), caller_ids=["0281", "0282"])


def records(engine, client_id):
    return rows(engine, "SELECT * FROM call_record WHERE client_id = :c ORDER BY uniqueid, leg, id", c=client_id)


def test_a_call_is_stored_and_charged_to_who_has_its_source(bring, engine, client_id, payer):
    (outcome,) = bring(call())
    (record,) = records(engine, client_id)
    *_, event = events(engine, payer)
    assert outcome == Stored(record.id, call(), payer, event.seq, charged=outcome.charged)
    assert (record.customer_id, record.event_seq, record.amount, record.duration) == (
        payer,
        event.seq,
        Decimal("2.5"),
        38,
    )
    assert record.end_time == START + timedelta(seconds=38)
    assert (event.kind, event.amount, event.delta, event.balance_after) == (
        "call.charged", Decimal("2.5"), Decimal("-2.5"), Decimal("7.5"),
    )  # fmt: skip
    assert event.detail == {"uniqueid": "1.1", "leg": 0, "start_time": "2024-05-06T07:08:09Z"}


def test_a_named_customer_pays_whoever_has_the_source(bring, engine, payer, new_customer):
    other = new_customer(username="0909", credit=Decimal(5))
    bring(call(customer="0909"))
    assert (stream(engine, payer).balance, stream(engine, other).balance) == (Decimal(10), Decimal("2.5"))


def test_a_named_customer_that_nobody_knows_is_refused_and_nothing_is_kept(bring, engine, client_id):
    (outcome,) = bring(call(customer="nobody"))
    assert isinstance(outcome, CustomerNotFound)
    assert records(engine, client_id) == []
    (again,) = bring(call())
    assert not again.duplicate


def test_a_name_that_means_two_is_refused(bring, new_customer):
    new_customer(username="0555")
    new_customer(caller_ids=["0555"])
    (outcome,) = bring(call(customer="0555"))
    assert isinstance(outcome, AmbiguousReference)


def test_a_repeat_charges_nothing_and_other_content_is_refused(bring, engine, client_id, payer):
    (first,) = bring(call())
    (again,) = bring(call())
    assert again == replace(first, duplicate=True, charged=None)
    for other in (
        call(amount=Decimal("2.50001")), call(duration=39), call(destination="114"), call(source="0282"),
        call(customer="0281"), call(disposition="BUSY"), call(start_time=START + timedelta(seconds=1), duration=37),
    ):  # fmt: skip
        (refused,) = bring(other)
        assert isinstance(refused, Conflict)
    assert len(records(engine, client_id)) == 1
    assert stream(engine, payer).balance == Decimal("7.5")


def test_the_same_amount_written_otherwise_is_the_same_call(bring, payer):
    bring(call(amount=Decimal("2.50")))
    (again,) = bring(call(amount=Decimal("2.5"), start_time=START.astimezone(), duration=38))
    assert again.duplicate


def test_legs_of_one_call_are_calls_of_their_own(bring, engine, client_id, payer):
    bring(call(leg=0), call(leg=1, amount=Decimal(1)))
    assert [record.leg for record in records(engine, client_id)] == [0, 1]
    assert stream(engine, payer).balance == Decimal("6.5")


def test_within_one_request_too_a_call_is_charged_once(bring, engine, payer):
    first, again, other = bring(call(), call(), call(amount=Decimal(9)))
    assert (first.duplicate, again.duplicate, again.call_id) == (False, True, first.call_id)
    assert isinstance(other, Conflict)
    assert stream(engine, payer).balance == Decimal("7.5")


def test_a_bad_call_fails_none_of_its_neighbours(bring, engine, client_id, payer, new_customer):
    full = new_customer(caller_ids=["0999"], credit=Decimal("-9999999999"))
    outcomes = bring(call("1"), call("2", customer="nobody"), call("3", source="0999", amount=Decimal(5)), call("4"))
    assert [type(outcome) for outcome in outcomes] == [Stored, CustomerNotFound, Conflict, Stored]
    assert [record.uniqueid for record in records(engine, client_id)] == ["1", "4"]
    assert stream(engine, full).balance == Decimal("-9999999999")
    (later,) = bring(call("3", source="0281"))
    assert not later.duplicate, "what the ledger refused was as if it had not been brought"


def test_a_charge_goes_through_below_the_floor_and_warns(bring, engine, new_customer):
    payer = new_customer(caller_ids=["0281"], credit=Decimal(3), credit_notification=Decimal(2))
    bring(call("1", amount=Decimal("1.5")), call("2", amount=Decimal(4)))
    assert [event.kind for event in events(engine, payer)] == [
        "customer.created", "call.charged", "credit.low", "call.charged", "credit.exhausted",
    ]  # fmt: skip
    assert stream(engine, payer).balance == Decimal("-2.5")
    assert_sound(engine, payer)


def test_held_credit_stays_held_when_a_call_is_charged(bring, engine, api, payer):
    assert api.post(f"/v1/customer/{payer}/hold", {"amount": 8, "expires_in": 600}).status == 200
    bring(call(amount=Decimal(5)))
    assert (stream(engine, payer).balance, stream(engine, payer).held) == (Decimal(5), Decimal(8))


def test_a_call_that_cost_nothing_is_on_record_and_use(bring, engine, client_id, payer):
    bring(call(amount=Decimal(0), duration=0, disposition="NO ANSWER"))
    apply_everything(engine)
    (record,) = records(engine, client_id)
    assert (record.amount, record.event_seq, record.disposition) == (Decimal(0), 2, "NO ANSWER")
    assert (stream(engine, payer).balance, projection(engine, payer).lastuse) == (Decimal(10), START)


def test_first_and_last_use_follow_the_calls_in_whatever_order_they_come(bring, engine, payer):
    for days in (5, 1, 9, 3):
        bring(call(f"{days}", start_time=START + timedelta(days=days)))
        apply_everything(engine)
    row = projection(engine, payer)
    assert (row.firstusedate, row.lastuse) == (START + timedelta(days=1), START + timedelta(days=9))
    assert_applied(engine, payer)


class TestUnmatched:
    def test_a_call_of_nobody_is_kept_and_charged_once_its_source_is_somebodys(
        self, bring, engine, client_id, new_customer
    ):
        (kept,) = bring(call())
        assert (kept.customer_id, kept.event_id, kept.duplicate) == (None, None, False)
        customer = new_customer(credit=Decimal(10))
        assert self.rematch(engine, client_id).charged == []
        with transaction(engine) as tx:
            give_caller_id(tx, Caller(client_id, "test"), customer, "0281")
        assert len(self.rematch(engine, client_id).charged) == 1
        assert self.rematch(engine, client_id).charged == []
        (again,) = bring(call())
        assert (again.duplicate, again.customer_id, again.call_id) == (True, customer, kept.call_id)
        assert stream(engine, customer).balance == Decimal("7.5")
        assert_sound(engine, customer)

    def test_only_the_source_that_was_named_is_looked_at(self, bring, engine, client_id, new_customer):
        bring(call("1"), call("2", source="0282"))
        new_customer(caller_ids=["0281", "0282"])
        assert len(self.rematch(engine, client_id, "0282").charged) == 1
        assert [record.event_seq is None for record in records(engine, client_id)] == [True, False]

    def test_more_than_fit_into_one_request_are_said_to_be_left(self, bring, engine, client_id, new_customer):
        bring(*(call(f"{n}") for n in range(7)))
        new_customer(caller_ids=["0281"])
        done = [self.rematch(engine, client_id, most=3) for _ in range(4)]
        assert [(len(each.charged), each.more) for each in done] == [(3, True), (3, True), (1, False), (0, False)]

    def test_two_who_look_again_at_once_charge_each_call_once(self, bring, engine, client_id, new_customer):
        bring(*(call(f"{n}") for n in range(60)))
        customer = new_customer(caller_ids=["0281"], credit=Decimal(1000))
        with ThreadPoolExecutor(4) as pool:
            done = list(pool.map(lambda _: self.rematch(engine, client_id, most=10), range(24)))
        assert sum(len(each.charged) for each in done) == 60
        assert stream(engine, customer).balance == Decimal(1000) - 60 * Decimal("2.5")
        assert_sound(engine, customer)

    def test_calls_that_the_ledger_refuses_are_in_nobodys_way(self, bring, engine, client_id, new_customer):
        bring(*(call(f"1.{n}", source="0300") for n in range(4)), *(call(f"2.{n}", source="0400") for n in range(4)))
        new_customer(caller_ids=["0300"], credit=Decimal("-9999999999"))
        payer = new_customer(caller_ids=["0400"], credit=Decimal(100))
        done = [self.rematch(engine, client_id, most=3) for _ in range(3)]
        assert sum(len(each.charged) for each in done) == 4
        assert stream(engine, payer).balance == 90

    def test_what_an_earlier_release_stored_twice_under_one_key_is_charged_once(
        self, bring, engine, client_id, new_customer
    ):
        (kept,) = bring(call("1"))
        with transaction(engine) as tx:
            tx.execute(
                text(
                    "INSERT INTO call_record (client_id, uniqueid, source, destination, start_time, end_time, duration,"
                    " amount) SELECT client_id, uniqueid, source, destination, start_time, end_time, duration, amount"
                    " FROM call_record WHERE id = :id"
                ),
                {"id": kept.call_id},
            )
        payer = new_customer(caller_ids=["0281"], credit=Decimal(10))
        assert [len(self.rematch(engine, client_id).charged) for _ in range(2)] == [1, 0]
        assert stream(engine, payer).balance == Decimal("7.5")

    def test_what_belongs_to_another_client_is_not_matched(self, bring, engine, foreign_api, client_id, new_customer):
        bring(call())
        assert foreign_api.post("/v1/customer", {"username": "0900000009", "cid": "0281"}).status == 200
        assert self.rematch(engine, foreign_api.client_id).charged == []
        assert self.rematch(engine, client_id).charged == []

    @staticmethod
    def rematch(engine, client_id, source=None, **options):
        with transaction(engine) as tx:
            return rematch(tx, Caller(client_id, "test"), source, **options)


def test_eight_who_bring_the_same_calls_at_once_in_batches_of_their_own_charge_each_once(
    engine, client_id, new_customer
):
    customers = [new_customer(caller_ids=[f"02{n:02}"], credit=Decimal(100)) for n in range(10)]
    calls = [call(f"{n}", source=f"02{n % 11:02}", amount=Decimal(n % 7) / 10) for n in range(400)]

    def bring_all(sender):
        mine, done = random.Random(sender).sample(calls, len(calls)), []
        size = (1, 3, 7, 20, 50, 100, 200, 400)[sender]
        for begin in range(0, len(mine), size):
            with transaction(engine) as tx:
                done += ingest(tx, Caller(client_id, f"sender {sender}"), mine[begin : begin + size])
        return done

    with ThreadPoolExecutor(8) as pool:
        outcomes = [outcome for done in pool.map(bring_all, range(8)) for outcome in done]
    assert len(outcomes) == 3200
    assert sum(not outcome.duplicate for outcome in outcomes) == 400
    assert len(records(engine, client_id)) == 400
    for n, customer in enumerate(customers):
        owed = sum(each.amount for each in calls if each.source == f"02{n:02}")
        assert stream(engine, customer).balance == 100 - owed
        assert_sound(engine, customer)


def test_the_first_calls_of_a_month_may_come_from_many_at_once(engine, client_id):
    for month in range(1, 7):
        moment = datetime(2011, month, 5, tzinfo=UTC)

        def bring_one(n, moment=moment):
            with transaction(engine) as tx:
                return ingest(tx, Caller(client_id, "test"), [call(f"{moment}.{n}", start_time=moment)])

        with ThreadPoolExecutor(8) as pool:
            assert len([*pool.map(bring_one, range(8))]) == 8
    assert len(records(engine, client_id)) == 48


AMOUNTS = st.decimals(0, 9999, places=5)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    batches=st.lists(
        st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2), AMOUNTS), min_size=1, max_size=8),
        min_size=1,
        max_size=5,
    )
)
def test_the_balance_is_what_it_was_less_the_first_of_each_call(engine, client_id, new_customer, batches):
    """Whatever is repeated, within a batch or across batches, with the same or with other content."""
    source = uuid.uuid4().hex
    payer, first = new_customer(caller_ids=[source], credit=Decimal(1000)), {}
    for batch in batches:
        calls = [call(f"{source}.{uid}", leg=leg, amount=amount, source=source) for uid, leg, amount in batch]
        with transaction(engine) as tx:
            outcomes = ingest(tx, Caller(client_id, "test"), calls)
        for each, outcome in zip(calls, outcomes, strict=True):
            known = first.setdefault(each.key, each)
            same = known.fingerprint() == each.fingerprint()
            assert isinstance(outcome, Stored if same else Conflict)
            assert not same or outcome.duplicate == (known is not each)
    assert stream(engine, payer).balance == 1000 - sum(each.amount for each in first.values())
    assert_sound(engine, payer)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"start_time": datetime(1999, 12, 31, tzinfo=UTC)}, "start_time: must be from 2000 on"),
        ({"start_time": clock.now() + timedelta(days=2)}, "start_time: must be from 2000 on, and not in the future"),
        ({"duration": None}, "duration: is required where there is no end_time"),
        ({"end_time": START - timedelta(seconds=1)}, "end_time: must not be before start_time"),
        ({"end_time": START + timedelta(days=32)}, "end_time: must not be before start_time, nor more than 31 days"),
    ],
)
def test_a_call_that_cannot_have_been_is_refused(fields, sentence):
    with pytest.raises(Invalid, match=sentence):
        call(**fields)


def test_an_end_alone_tells_the_whole_seconds():
    made = call(duration=None, end_time=START + timedelta(seconds=61, milliseconds=900))
    assert (made.duration, made.end_time) == (61, START + timedelta(seconds=61, milliseconds=900))


def test_what_somebody_charges_may_be_less_than_the_call_lasted():
    made = call(duration=30, end_time=START + timedelta(seconds=95))
    assert isinstance(made, NewCall)
    assert (made.duration, made.end_time - made.start_time) == (30, timedelta(seconds=95))
