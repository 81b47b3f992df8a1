"""Promises 2, 3 and 11: streams without gaps, sums that hold, nothing accepted that is not durable."""

from __future__ import annotations

import random
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from service.db.driver import ConnectionLost, driver_connection
from service.db.engine import make_engine
from service.db.transaction import transaction
from service.errors import AmbiguousReference, CustomerNotFound, Invalid, OutcomeUnknown, StreamBusy, Unavailable
from service.ledger import append as append_module
from service.ledger import group_commit
from service.ledger.append import _through_the_door, append, append_one
from service.ledger.command import Appended, Caller, Why, set_credit, set_status
from service.ledger.event import Kind, Status
from service.ledger.group_commit import GroupCommit
from tests.support.ledger import assert_sound, events, rows, stream
from tests.support.processes import free_port, until

LARGEST = Decimal("9999999999.99999")


@pytest.fixture
def caller(client_id):
    return Caller(client_id, "test", "request-1")


def test_a_set_stores_the_delta_that_it_came_to(engine, caller, new_customer):
    customer = new_customer(credit=Decimal("10.5"))
    appended = append_one(engine, set_credit(caller, f"id:{customer}", Decimal(12), Why("trả trước")))
    event = events(engine, customer)[-1]
    assert (event.amount, event.delta, event.balance_after) == (12, Decimal("1.5"), 12)
    assert (event.reason, event.actor, event.request_id) == ("trả trước", "test", "request-1")
    assert (appended.seq, appended.balance, appended.event_id) == (2, 12, f"evt_{customer}_2")


def test_tenths_add_up(engine, caller, customer):
    append_one(engine, set_credit(caller, f"id:{customer}", Decimal("0.1")))
    append_one(engine, set_credit(caller, f"id:{customer}", Decimal("0.1") + Decimal("0.2")))
    assert events(engine, customer)[-1].delta == Decimal("0.2")
    assert stream(engine, customer).balance == Decimal("0.3")


def test_the_largest_swing_fits(engine, caller, customer):
    append_one(engine, set_credit(caller, f"id:{customer}", -LARGEST))
    append_one(engine, set_credit(caller, f"id:{customer}", LARGEST))
    assert events(engine, customer)[-1].delta == 2 * LARGEST
    assert_sound(engine, customer)


def test_an_amount_with_more_than_five_decimals_is_refused_not_rounded(engine, caller, customer):
    with pytest.raises(Invalid):
        append_one(engine, set_credit(caller, f"id:{customer}", Decimal("0.000001")))
    assert len(events(engine, customer)) == 1


def test_a_bad_command_does_not_fail_its_neighbours(engine, caller, customer):
    good = set_credit(caller, f"id:{customer}", Decimal(1))
    outcomes = append(
        engine,
        [
            set_credit(caller, "nobody", Decimal(1)),
            good,
            set_credit(caller, f"id:{customer}", Decimal("1.1234567")),
            set_status(caller, f"id:{customer}", Status.EXPIRED),
        ],
    )
    assert isinstance(outcomes[0], CustomerNotFound)
    assert isinstance(outcomes[1], Appended)
    assert isinstance(outcomes[2], Invalid)
    assert outcomes[3] == Appended(customer, 3, 3, Decimal(1), Decimal(1), Status.EXPIRED, Kind.STATUS_SET)


def test_many_commands_for_many_customers_come_back_in_their_order(engine, caller, new_customer):
    customers = [new_customer() for _ in range(5)]
    commands = [set_credit(caller, f"id:{random.choice(customers)}", Decimal(n)) for n in range(200)]
    outcomes = append(engine, commands)
    assert [outcome.balance for outcome in outcomes] == list(range(200))
    for customer in customers:
        assert_sound(engine, customer)


def test_an_ambiguous_reference_is_refused(engine, caller, new_customer):
    new_customer(username="0912000111")
    new_customer(caller_ids=["0912000111"])
    with pytest.raises(AmbiguousReference, match="username:0912000111"):
        append_one(engine, set_credit(caller, "0912000111", Decimal(1)))


@pytest.mark.parametrize("customers", [1, 7])
def test_sixteen_writers_leave_no_gap_and_no_wrong_sum(engine, caller, new_customer, customers):
    ids = [new_customer(creditlimit=LARGEST) for _ in range(customers)]  # or warnings would count as well

    def write(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(25):
            ref = f"id:{dice.choice(ids)}"
            if dice.random() < 0.7:
                command = set_credit(caller, ref, Decimal(dice.randrange(-(10**9), 10**9)) / 1000)
            else:
                command = set_status(caller, ref, dice.choice(list(Status)))
            append_one(engine, command)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, range(16)))
    assert sum(stream(engine, customer).last_seq for customer in ids) == 16 * 25 + customers
    for customer in ids:
        assert_sound(engine, customer)


def test_calls_that_cross_do_not_deadlock(engine, caller, new_customer):
    ids = [new_customer(creditlimit=LARGEST) for _ in range(6)]

    def write(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(10):
            dice.shuffle(ids_of_mine := list(ids))
            append(engine, [set_credit(caller, f"id:{n}", Decimal(seed)) for n in ids_of_mine])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    for customer in ids:
        assert stream(engine, customer).last_seq == 81
        assert_sound(engine, customer)


def test_a_clock_that_is_set_back_does_not_reorder_a_stream(engine, caller, customer):
    ahead = text("UPDATE stream SET last_at = now() + interval '1 hour' WHERE customer_id = :id RETURNING last_at")
    with transaction(engine) as tx:
        last_at = tx.execute(ahead, {"id": customer}).scalar_one()
    append_one(engine, set_credit(caller, f"id:{customer}", Decimal(1)))
    append_one(engine, set_credit(caller, f"id:{customer}", Decimal(2)))
    assert [event.recorded_at for event in events(engine, customer)][1:] == [last_at, last_at]


def test_a_stream_that_stays_locked_answers_unavailable_and_writes_nothing(engine, caller, customer):
    with transaction(engine) as tx:
        tx.execute(text("SELECT FROM stream WHERE customer_id = :id FOR UPDATE"), {"id": customer})
        with pytest.raises(Unavailable):
            append_one(engine, set_credit(caller, f"id:{customer}", Decimal(1)))
    assert len(events(engine, customer)) == 1


def test_without_waiting_a_locked_stream_is_busy_and_its_neighbours_go_on(engine, caller, new_customer):
    locked, free = new_customer(), new_customer()
    with transaction(engine) as tx:
        tx.execute(text("SELECT FROM stream WHERE customer_id = :id FOR UPDATE"), {"id": locked})
        commands = [set_credit(caller, f"id:{n}", Decimal(1)) for n in (locked, free)]
        outcomes = append(engine, commands, wait=False)
    assert isinstance(outcomes[0], StreamBusy)
    assert isinstance(outcomes[1], Appended)


class TestALostAnswer:
    """The connection breaks after the commit and before the answer, or in the middle."""

    def test_a_command_that_was_committed_is_found_and_not_repeated(self, engine, caller, customer):
        command = set_credit(caller, f"id:{customer}", Decimal(7))
        first = append_one(engine, command)
        append_one(engine, set_credit(caller, f"id:{customer}", Decimal(8)))
        with driver_connection(engine) as connection:
            [again] = _through_the_door(connection, [command], wait=True, again=True)
        assert again == first
        assert len(events(engine, customer)) == 3

    def test_a_session_killed_while_it_waits_is_tried_again_and_appends_once(self, engine, caller, customer):
        result: list[object] = []
        thread = threading.Thread(
            target=lambda: result.append(append_one(engine, set_credit(caller, f"id:{customer}", Decimal(9))))
        )
        with transaction(engine) as tx:
            tx.execute(text("SELECT FROM stream WHERE customer_id = :id FOR UPDATE"), {"id": customer})
            thread.start()
            killed = 0
            while not killed:
                killed = len(
                    rows(
                        engine,
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                        " AND query LIKE '%ledger_append%' AND datname = current_database()",
                    )
                )
        thread.join(10)
        assert [appended.seq for appended in result] == [2]
        assert [event.balance_after for event in events(engine, customer)] == [0, 9]

    def test_a_first_sending_that_arrives_after_the_second_is_no_second_event(self, engine, caller, customer):
        command = set_credit(caller, f"id:{customer}", Decimal(777))
        with driver_connection(engine) as connection:
            _through_the_door(connection, [command], wait=True, again=True)
        append_one(engine, set_credit(caller, f"id:{customer}", Decimal(5)))
        with pytest.raises(psycopg.errors.UniqueViolation):
            append_one(engine, command)
        assert stream(engine, customer).balance == 5

    def test_a_group_whose_answer_is_lost_gets_each_its_own_outcome(self, engine, caller, new_customer, monkeypatch):
        locked, free = new_customer(), new_customer()
        commands = [set_credit(caller, f"id:{n}", Decimal(4)) for n in (free, locked)]
        real = append_module._through_the_door

        def answer_lost(connection, given, *, wait, again=False):
            outcomes = real(connection, given, wait=wait, again=again)
            if not again:
                raise ConnectionLost
            return outcomes

        monkeypatch.setattr(append_module, "_through_the_door", answer_lost)
        monkeypatch.setattr(append_module, "ASK_AGAIN_FOR", 2.5)
        with transaction(engine) as tx:
            tx.execute(text("SELECT FROM stream WHERE customer_id = :id FOR UPDATE"), {"id": locked})
            first, second = append(engine, commands, wait=False)
        assert (first.customer_id, first.seq) == (free, 2)
        assert isinstance(second, OutcomeUnknown)
        assert len(events(engine, free)) == 2

    def test_where_asking_again_does_not_work_the_outcome_is_unknown_and_not_nothing(
        self, engine, caller, customer, monkeypatch
    ):
        real = append_module._through_the_door

        def cut_off(connection, given, *, wait, again=False):
            if not again:
                real(connection, given, wait=wait)
            raise ConnectionLost

        monkeypatch.setattr(append_module, "_through_the_door", cut_off)
        monkeypatch.setattr(append_module, "ASK_AGAIN_FOR", 0.5)
        with pytest.raises(OutcomeUnknown, match="may have been made"):
            append_one(engine, set_credit(caller, f"id:{customer}", Decimal(42)))
        assert stream(engine, customer).balance == 42


class TestGroupCommit:
    """Threads that go through the door together."""

    def test_everybody_gets_the_outcome_of_their_own_command(self, engine, caller, new_customer):
        ledger = GroupCommit(engine)
        ids = [new_customer() for _ in range(4)]

        def write(n: int) -> tuple[int, Decimal]:
            appended = ledger.append(set_credit(caller, f"id:{ids[n % 4]}", Decimal(n)))
            return appended.customer_id, appended.balance

        with ThreadPoolExecutor(16) as pool:
            results = list(pool.map(write, range(400)))
        assert results == [(ids[n % 4], n) for n in range(400)]
        for customer in ids:
            assert_sound(engine, customer)

    def test_a_refusal_reaches_only_its_own_thread(self, engine, caller, customer):
        ledger = GroupCommit(engine)

        def write(n: int) -> object:
            ref = f"id:{customer}" if n % 3 else "nobody"
            try:
                return ledger.append(set_credit(caller, ref, Decimal(n)))
            except CustomerNotFound:
                return None

        with ThreadPoolExecutor(12) as pool:
            results = list(pool.map(write, range(120)))
        assert [result is None for result in results] == [n % 3 == 0 for n in range(120)]

    def test_a_locked_stream_holds_up_nobody_else(self, engine, caller, new_customer):
        ledger = GroupCommit(engine)
        locked, free = new_customer(), new_customer()
        with ThreadPoolExecutor(12) as pool:
            with transaction(engine) as tx:
                tx.execute(text("SELECT FROM stream WHERE customer_id = :id FOR UPDATE"), {"id": locked})
                stuck = [pool.submit(ledger.append, set_credit(caller, f"id:{locked}", Decimal(1))) for _ in range(3)]
                for n in range(50):
                    pool.submit(ledger.append, set_credit(caller, f"id:{free}", Decimal(n))).result(1.5)
                assert not any(future.done() and future.exception() is None for future in stuck)
            outcomes = [future.exception(10) for future in stuck]
        assert all(error is None or isinstance(error, Unavailable) for error in outcomes)

    def test_a_command_that_spoils_its_group_fails_alone(self, engine, caller, new_customer):
        ledger = GroupCommit(engine)
        ids = [new_customer() for _ in range(3)]

        def write(n: int) -> object:
            reason = "\x00" if n % 5 == 0 else None  # which the driver refuses, and with it the whole call
            try:
                return ledger.append(set_credit(caller, f"id:{ids[n % 3]}", Decimal(n), Why(reason)))
            except psycopg.DataError as error:
                return error

        with ThreadPoolExecutor(10) as pool:
            results = list(pool.map(write, range(100)))
        assert [isinstance(result, psycopg.DataError) for result in results] == [n % 5 == 0 for n in range(100)]

    def test_a_database_that_is_away_is_told_to_everybody_with_an_error_of_their_own(self, config):
        dead = make_engine(replace(config, database_url=make_url(f"postgresql+psycopg://x@127.0.0.1:{free_port()}/x")))
        ledger = GroupCommit(dead)
        nobody = Caller(uuid.uuid4(), "test")

        def write(n: int) -> BaseException | None:
            try:
                ledger.append(set_credit(nobody, "x", Decimal(n)))
            except Unavailable as error:
                return error

        with ThreadPoolExecutor(8) as pool:
            errors = list(pool.map(write, range(40)))
        assert all(type(error) is Unavailable for error in errors)
        assert len({id(error) for error in errors}) == 40

    def test_whoever_waits_for_a_leader_that_nobody_answers_gives_up(self, engine, caller, customer, monkeypatch):
        monkeypatch.setattr(group_commit, "PATIENCE", 0.2)
        answered = threading.Event()
        real = group_commit.append
        monkeypatch.setattr(group_commit, "append", lambda *a, **k: (answered.wait(10), real(*a, **k))[1])
        ledger = GroupCommit(engine)
        with ThreadPoolExecutor(2) as pool:
            leader = pool.submit(ledger.append, set_credit(caller, f"id:{customer}", Decimal(1)))
            until(lambda: ledger._taken and not ledger._waiting)
            with pytest.raises(Unavailable):
                ledger.append(set_credit(caller, f"id:{customer}", Decimal(2)))
            answered.set()
            assert leader.result(10).seq == 2
        assert ledger.append(set_credit(caller, f"id:{customer}", Decimal(3))).seq == 3


class TestTheDoorItself:
    """What no caller of ours asks for is refused all the same, and spoils nothing."""

    @pytest.mark.parametrize(
        ("kind", "amount", "status"),
        [
            ("credit.set", "NaN", None), ("credit.set", "1e10", None), ("credit.set", None, None),
            ("credit.set", "1", 1), ("status.set", None, 9), ("status.set", None, -1), ("status.set", None, None),
            ("customer.created", "1", 1), ("credit.eaten", "1", None), (None, "1", None),
        ],
    )  # fmt: skip
    def test_a_command_that_makes_no_sense_is_refused_beside_one_that_does(
        self, engine, caller, new_customer, kind, amount, status
    ):
        customer, neighbour = new_customer(), new_customer()
        found = rows(
            engine,
            "SELECT outcome, seq FROM ledger_append(ARRAY[:c, :c]::uuid[], ARRAY[:bad, :good], "
            "ARRAY[gen_random_uuid(), gen_random_uuid()], ARRAY[:kind, 'credit.set'], "
            "ARRAY[:amount, 1]::numeric[], ARRAY[:status, NULL]::smallint[], ARRAY[NULL, NULL]::text[], "
            "ARRAY[NULL, NULL]::text[], ARRAY['t', 't'], ARRAY[NULL, NULL]::text[]) ORDER BY ordinal",
            c=caller.client_id, bad=f"id:{customer}", good=f"id:{neighbour}", kind=kind,
            amount=None if amount is None else Decimal(amount), status=status,
        )  # fmt: skip
        assert found[0].outcome in {"bad_kind", "bad_status", "too_large", "not_exact"}
        assert found[0].seq is None
        assert tuple(found[1]) == ("appended", 2)
        assert len(events(engine, customer)) == 1

    def test_arrays_of_different_lengths_are_an_error(self, engine, caller, customer):
        ragged = text(
            "SELECT * FROM ledger_append(ARRAY[:c]::uuid[], ARRAY['x', 'y'], ARRAY[gen_random_uuid()], "
            "ARRAY['credit.set'], ARRAY[1]::numeric[], ARRAY[NULL]::smallint[], ARRAY[NULL]::text[], "
            "ARRAY[NULL]::text[], ARRAY['t'], ARRAY[NULL]::text[])"
        )
        with transaction(engine) as tx, pytest.raises(DBAPIError, match="arrays of one length"):
            tx.execute(ragged, {"c": caller.client_id})


def test_a_foreign_client_cannot_reach_a_customer_by_any_reference(engine, new_customer):
    customer = new_customer(username="victim77", caller_ids=["+84 77"])
    stranger = Caller(uuid.uuid4(), "stranger")
    for ref in (str(customer), f"id:{customer}", "victim77", "username:victim77", "+84 77", "caller_id:+84 77"):
        with pytest.raises(CustomerNotFound):
            append_one(engine, set_credit(stranger, ref, Decimal(1)))
    assert len(events(engine, customer)) == 1
