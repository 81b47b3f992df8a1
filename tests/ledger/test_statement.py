"""Reading back: where a stream stood at a moment, what a customer had then, and that no reading walks a whole table."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, text
from sqlalchemy.engine import make_url

from service import clock
from service.access.keys import create_client
from service.customers.read import find_customer
from service.db.engine import make_engine
from service.db.transaction import transaction
from service.errors import AmbiguousReference, CustomerNotFound, NotFound
from service.ledger.append import append, append_one
from service.ledger.balance import NotThereYet, balance_at, balance_now
from service.ledger.command import (
    Caller,
    Why,
    add_credit,
    capture,
    expire_hold,
    hold,
    set_credit,
    set_limits,
    set_status,
)
from service.ledger.event import Status
from service.ledger.feed import BEGINNING, Feed, FeedPlace, feed_horizon, place_in_feed, read_feed
from service.ledger.statement import Wanted, change_log, find_event, statement, stretch
from tests.support import servers
from tests.support.client import add_customer
from tests.support.ledger import apply_everything, events

TICK = timedelta(microseconds=1)
BEGAN = datetime(2024, 2, 29, tzinfo=UTC)
_numbers = count(1)


@pytest.fixture
def caller(client_id):
    return Caller(client_id, "key:1")


def set_to(engine, caller, customer, *amounts):
    append(engine, [set_credit(caller, f"id:{customer}", Decimal(amount)) for amount in amounts])


class TestWhereAStreamStood:
    @given(gaps=st.lists(st.sampled_from([0, 0, 1, 2, 1000]), max_size=40), probe=st.integers(-2, 3000))
    @settings(max_examples=80, deadline=None)
    def test_halving_finds_what_a_walk_over_all_events_finds(self, engine, gaps, probe):
        moments = [BEGAN]
        for gap in gaps:
            moments.append(moments[-1] + gap * TICK)
        asked = {*moments, *(moment + TICK for moment in moments), *(moment - TICK for moment in moments)}
        asked |= {BEGAN + probe * TICK, datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)}
        connection = engine.connect().execution_options(isolation_level="READ COMMITTED")
        with connection, connection.begin() as tx:
            customer = self.stream_with(connection, moments)
            for moment in asked:
                walked = sum(each <= moment for each in moments)  # their times never go back
                assert self.seq_at(connection, customer, moment) == walked
            tx.rollback()

    def test_a_customer_that_is_not_there_has_had_no_event(self, engine):
        with engine.connect() as connection:
            assert self.seq_at(connection, 2**62, BEGAN) == 0

    def seq_at(self, connection, customer, moment):
        return connection.scalar(text("SELECT ledger_seq_at(:c, :m)"), {"c": customer, "m": moment})

    def stream_with(self, connection, moments):
        name = f"halved {next(_numbers)}"
        client = connection.scalar(text("INSERT INTO client (name) VALUES (:n) RETURNING id"), {"n": name})
        customer = connection.scalar(
            text("INSERT INTO customer (client_id, username, useralias) VALUES (:c, 'u', 'a') RETURNING id"),
            {"c": client},
        )
        connection.execute(
            text("INSERT INTO stream (customer_id, client_id, status, last_seq) VALUES (:id, :c, 1, :n)"),
            {"id": customer, "c": client, "n": len(moments)},
        )
        connection.execute(
            text("""
                INSERT INTO ledger_event (customer_id, seq, client_id, command_id, kind, delta, balance_after,
                                          status_after, actor, recorded_at, hash_format, hash)
                SELECT :id, n, :c, gen_random_uuid(), 'credit.set', 0, 0, 1, 'test', moment, 2, ''
                FROM unnest(CAST(:moments AS timestamptz[])) WITH ORDINALITY AS given (moment, n)
            """),
            {"id": customer, "c": client, "moments": moments},
        )
        return customer


class TestAStretch:
    def test_it_ends_at_the_moments_themselves_to_the_microsecond(self, engine, caller, customer):
        for amount in range(1, 6):
            set_to(engine, caller, customer, amount)
        moments = [each.recorded_at for each in events(engine, customer)]
        assert moments == sorted(set(moments))
        for first, start in enumerate(moments, 1):
            for last, end in enumerate(moments, 1):
                low, high = min(first, last), max(first, last)
                assert self.between(engine, caller, customer, start, end) == (low, high)
        assert self.between(engine, caller, customer, moments[1] + TICK, moments[3] - TICK) == (3, 3)
        assert self.between(engine, caller, customer, moments[1] + TICK, moments[2] - TICK) == (3, 2)  # nothing
        assert self.between(engine, caller, customer, moments[1], None) == (2, 6)
        assert self.between(engine, caller, customer, None, moments[1]) == (1, 2)
        assert self.between(engine, caller, customer, None, None) == (1, 6)

    def test_moments_at_the_ends_of_the_calendar_are_moments(self, engine, caller, customer):
        ends = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
        assert self.between(engine, caller, customer, *ends) == (1, 1)
        assert self.between(engine, caller, customer, ends[1], ends[1]) == (2, 1)

    def test_who_is_unknown_foreign_or_two_is_refused(self, engine, caller, new_customer):
        new_customer(username="0912000333")
        new_customer(caller_ids=["0912000333"])
        with pytest.raises(AmbiguousReference):
            stretch(engine, caller.client_id, "0912000333")
        for ref in ("nobody", f"id:{add_customer(engine, create_client(engine, f'other {next(_numbers)} h'))}"):
            with pytest.raises(CustomerNotFound):
                stretch(engine, caller.client_id, ref)

    def between(self, engine, caller, customer, start, end):
        found = stretch(engine, caller.client_id, f"id:{customer}", start, end)
        return found.first, found.last


def test_pages_of_the_statement_and_the_log_cover_the_stretch_in_both_orders(engine, caller, customer):
    set_to(engine, caller, customer, *range(10))
    apply_everything(engine)
    among = stretch(engine, caller.client_id, f"id:{customer}")
    for read in (statement, change_log):
        for newest_first in (True, False):
            seen, after = [], None
            while True:
                page = read(engine, among, Wanted(3, after, newest_first))
                seen += [row.seq for row in page.rows]
                after = page.next
                if after is None:
                    break
            assert seen == sorted(range(1, 12), reverse=newest_first)


def test_a_page_that_ends_with_the_last_row_has_no_next(engine, caller, customer):
    set_to(engine, caller, customer, 1, 2)
    among = stretch(engine, caller.client_id, f"id:{customer}")
    assert statement(engine, among, Wanted(3)).next is None
    assert statement(engine, among, Wanted(2)).next == 2


def test_an_event_is_found_by_its_id_and_by_nothing_else(engine, caller, customer):
    appended = append_one(engine, set_credit(caller, f"id:{customer}", Decimal("1.5"), Why("vì sao", "ref-1")))
    found = find_event(engine, caller.client_id, appended.event_id)
    assert (found.id, found.delta, found.reason, found.reference) == (
        f"evt_{customer}_2", Decimal("1.5"), "vì sao", "ref-1",
    )  # fmt: skip
    for unknown in ("", "x", f"evt_{customer}_3", f"evt_{customer}_02", f"hold_{customer}_2", "evt_9_" + "9" * 30):
        with pytest.raises(NotFound, match="event not found"):
            find_event(engine, caller.client_id, unknown)
    with pytest.raises(NotFound, match="event not found"):
        find_event(engine, create_client(engine, f"stranger {next(_numbers)} h"), appended.event_id)


class TestABalance:
    def test_at_the_moment_of_each_event_it_is_what_the_event_says(self, engine, caller, new_customer):
        customer = new_customer(credit=Decimal(100), creditlimit=Decimal("7.5"))
        ref = f"id:{customer}"
        append_one(engine, add_credit(caller, ref, Decimal("-0.00001")))
        put_aside = append_one(engine, hold(caller, ref, Decimal(40), clock.now() + timedelta(hours=1)))
        append_one(engine, set_limits(caller, ref, {"creditlimit": None}))
        append_one(engine, set_status(caller, ref, Status.SUSPENDED))
        append_one(engine, capture(caller, (customer, put_aside.seq), Decimal(15)))
        history = events(engine, customer)
        assert len(history) == 6
        for each in history:
            for moment in (each.recorded_at, each.recorded_at + TICK):
                had = balance_at(engine, caller.client_id, ref, moment)
                assert (had.seq, had.credit, had.held, had.creditlimit, had.status, had.at) == (
                    each.seq, each.balance_after, each.held_after, each.creditlimit_after, each.status_after, moment,
                )  # fmt: skip
                assert had.available == had.credit - had.held + (had.creditlimit or 0)
        with pytest.raises(NotThereYet):
            balance_at(engine, caller.client_id, ref, history[0].recorded_at - TICK)

    def test_now_it_is_the_heads_though_no_worker_has_looked(self, engine, caller, new_customer):
        customer = new_customer(credit=10, creditlimit=Decimal("2.5"), credit_notification=Decimal(3))
        append_one(engine, hold(caller, f"id:{customer}", Decimal(4), clock.now() + timedelta(hours=1)))
        has = balance_now(engine, caller.client_id, str(customer))
        assert (has.customer_id, has.credit, has.held, has.creditlimit, has.available) == (customer, 10, 4, 2.5, 8.5)
        assert (has.credit_notification, has.status, has.seq) == (3, 1, 2)

    def test_now_and_at_the_moment_that_it_names_are_the_same(self, engine, caller, customer):
        set_to(engine, caller, customer, 5)
        has = balance_now(engine, caller.client_id, str(customer))
        had = balance_at(engine, caller.client_id, str(customer), has.at)
        assert (had.seq, had.credit, had.at) == (has.seq, has.credit, has.at)

    def test_a_hold_whose_time_is_over_no_longer_counts_though_nobody_has_closed_it(self, engine, caller, new_customer):
        customer = new_customer(credit=10)
        ref = f"id:{customer}"
        short = append_one(engine, hold(caller, ref, Decimal(3), clock.now() + timedelta(milliseconds=300)))
        append_one(engine, hold(caller, ref, Decimal(4), clock.now() + timedelta(hours=1)))
        assert balance_now(engine, caller.client_id, ref).held == 7
        time.sleep(0.35)
        has = balance_now(engine, caller.client_id, ref)
        assert (has.held, has.available) == (4, 6)
        append_one(engine, expire_hold(Caller(caller.client_id, "system"), (customer, short.seq)))
        assert balance_now(engine, caller.client_id, ref).held == 4

    def test_a_customer_whose_time_is_over_is_expired_though_no_event_says_so_yet(self, engine, caller, new_customer):
        over = clock.now() - timedelta(minutes=1)
        customer = new_customer(enableexpire=1, expirationdate=over)
        ref = f"id:{customer}"
        assert find_customer(engine, caller.client_id, ref).status == Status.EXPIRED
        assert balance_now(engine, caller.client_id, ref).status == Status.EXPIRED
        append_one(engine, set_status(caller, ref, Status.ACTIVE))  # by hand, after that moment
        assert balance_now(engine, caller.client_id, ref).status == Status.ACTIVE
        append_one(engine, set_status(caller, ref, Status.CANCELLED))
        assert balance_now(engine, caller.client_id, ref).status == Status.CANCELLED

    def test_before_limits_were_recorded_it_is_todays_limit_that_counts(self, own_engine):
        client = create_client(own_engine, "early")
        customer = add_customer(own_engine, client, credit=5)
        with transaction(own_engine) as tx:
            tx.execute(text("UPDATE stream SET creditlimit = 20, last_seq = 2, last_at = now()"))
            tx.execute(
                text("""
                    INSERT INTO ledger_event (customer_id, seq, client_id, command_id, kind, delta, balance_after,
                                              status_after, actor, recorded_at, hash_format, hash)
                    SELECT customer_id, 2, client_id, gen_random_uuid(), 'credit.set', 1, 6, 1, 'old', now(), 1, ''
                    FROM stream
                """)
            )
        had = balance_at(own_engine, client, f"id:{customer}", clock.now())
        assert (had.seq, had.credit, had.creditlimit, had.available) == (2, 6, 20, 26)
        first = events(own_engine, customer)[0].recorded_at
        assert balance_at(own_engine, client, f"id:{customer}", first).creditlimit is None

    def test_a_stranger_has_none(self, engine, caller, customer):
        stranger = create_client(engine, f"stranger {next(_numbers)} b")
        for ref in (str(customer), f"id:{customer}"):
            with pytest.raises(CustomerNotFound):
                balance_now(engine, stranger, ref)
            with pytest.raises(CustomerNotFound):
                balance_at(engine, stranger, ref, clock.now())


@pytest.fixture(scope="module")
def many(config):
    """Some thousand events of several customers of several clients, in a database of their own."""
    with servers.copied(f"{os.environ[servers.TEMPLATE]}_plans_{os.getpid()}") as url:
        engine = make_engine(replace(config, database_url=make_url(url)))
        clients = [create_client(engine, f"plans {n}") for n in range(2)]
        customers = [(client, add_customer(engine, client)) for client in clients for _ in range(2)]
        for n in range(15):
            for client, customer in customers:
                set_to(engine, Caller(client, "key:1"), customer, *range(n * 100, n * 100 + 100))
        apply_everything(engine)
        with engine.connect() as connection:
            connection.execute(text("VACUUM ANALYZE"))
        yield engine, *customers[0]
        engine.dispose()


class TestPlans:
    """Each reading goes by an index, in its order: it costs what the page costs, however long the list is."""

    def plans_of(self, engine, read):
        """The plan of each statement that a reading makes."""
        asked = []

        def listen(connection, cursor, statement, parameters, *_):
            asked.append((statement, parameters))

        event.listen(engine, "before_cursor_execute", listen)
        try:
            read()
        finally:
            event.remove(engine, "before_cursor_execute", listen)
        with engine.connect() as connection:
            for statement_text, parameters in asked:
                rows = connection.exec_driver_sql(f"EXPLAIN {statement_text}", parameters)
                yield "\n".join(row[0] for row in rows)

    def assert_by(self, index, engine, read):
        plans = list(self.plans_of(engine, read))
        assert plans
        for plan in plans:
            assert index in plan, plan
            assert "Sort" not in plan, plan
            assert "Seq Scan on ledger_event" not in plan, plan
            assert "Seq Scan on change_log" not in plan, plan

    @pytest.mark.parametrize("newest_first", [True, False])
    @pytest.mark.parametrize(("limit", "after", "kind"), [(10, None, None), (30, 800, None), (10, 700, "credit.set")])
    def test_a_page_of_the_statement_or_the_log_walks_its_primary_key(self, many, newest_first, limit, after, kind):
        engine, client, customer = many
        among = stretch(engine, client, f"id:{customer}")
        wanted = Wanted(limit, after, newest_first, kind)
        self.assert_by("ledger_event_pkey", engine, lambda: statement(engine, among, wanted))
        self.assert_by("change_log_pkey", engine, lambda: change_log(engine, among, wanted))

    @pytest.mark.parametrize(("limit", "kind"), [(10, None), (100, None), (10, "credit.set")])
    def test_a_page_of_the_feed_walks_its_index(self, many, limit, kind):
        engine, client, _ = many
        feed = Feed(client, kind=kind)
        some = place_in_feed(read_feed(engine, feed, None, 500).rows[-1])
        for after in (None, some):
            self.assert_by("ledger_event_feed", engine, lambda after=after: read_feed(engine, feed, after, limit))
        ended = Feed(client, kind=kind, horizon=feed_horizon(engine))
        self.assert_by("ledger_event_feed", engine, lambda: read_feed(engine, ended, some, limit))

    def test_a_balance_looks_up_some_rows(self, many):
        engine, client, customer = many
        (now,) = self.plans_of(engine, lambda: balance_now(engine, client, f"id:{customer}"))
        (then,) = self.plans_of(engine, lambda: balance_at(engine, client, f"id:{customer}", clock.now()))
        assert "Seq Scan on ledger_event" not in then, then
        assert "ledger_event_pkey" in then, then
        assert "Sort" not in now, now


def test_the_beginning_of_a_feed_is_before_every_place():
    assert FeedPlace(0, 1, 1) > BEGINNING
