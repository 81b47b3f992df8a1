"""Counting and paging by tallies says just what counting and paging by calls would say, whatever the stretch."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, text
from sqlalchemy.exc import DatabaseError

from service.access.keys import create_client
from service.calls.period import Period
from service.calls.read import COUNT, list_calls
from service.calls.wanted import Wanted
from service.db.transaction import reading, transaction
from service.models import CallRecord

PLACE = text("SELECT total, before, skip FROM call_place(:client, :from, :before, :offset, 0)")
FIRST = datetime(2023, 1, 30, 21, 0, tzinfo=UTC)  # so that the calls lie in two months
SPAN = timedelta(days=4)
TICK = timedelta(microseconds=1)
MOMENTS = st.one_of(
    st.integers(0, int(SPAN.total_seconds())).map(lambda s: FIRST + timedelta(seconds=s)),
    st.sampled_from([FIRST + timedelta(hours=h) for h in range(100)]),
    st.sampled_from([FIRST + timedelta(hours=h) - TICK for h in range(100)]),
    st.sampled_from([FIRST - timedelta(days=40), FIRST + timedelta(days=40)]),
)


@pytest.fixture(scope="module")
def client(engine):
    return create_client(engine, f"tallies {uuid.uuid4()}")


@pytest.fixture(scope="module")
def starts(engine, client):
    """When 2,000 calls began, newest first: some at one moment, some at the very border of an hour or a day."""
    every = [FIRST + timedelta(seconds=173 * n % int(SPAN.total_seconds())) for n in range(1500)]
    every += [FIRST + timedelta(hours=n // 5) for n in range(400)]
    every += [FIRST + timedelta(hours=n) - TICK for n in range(100)]
    with transaction(engine) as tx:
        for moment in (FIRST, FIRST + SPAN, FIRST + SPAN + timedelta(hours=5)):
            tx.execute(text("SELECT call_record_ensure_month(:moment)"), {"moment": moment})
        tx.execute(insert(CallRecord), [_call(client, moment) for moment in every])
    return sorted(every, reverse=True)


def _call(client, moment):
    return {
        "client_id": client, "start_time": moment, "end_time": moment, "duration": 1, "amount": 1,
        "uniqueid": uuid.uuid4().hex, "source": "0899", "destination": "113",
    }  # fmt: skip


def stretch(client, start, end):
    return {"client": client, "from": start, "before": end + TICK}


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(ends=st.tuples(MOMENTS, MOMENTS))
def test_a_stretch_is_counted_as_its_calls_are(engine, client, starts, ends):
    start, end = sorted(ends)
    with reading(engine) as connection:
        counted = connection.scalar(COUNT, stretch(client, start, end))
    assert counted == sum(start <= moment <= end for moment in starts)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(ends=st.tuples(MOMENTS, MOMENTS), offset=st.integers(0, 2100))
def test_the_place_of_a_page_leaves_out_just_the_calls_before_it(engine, client, starts, ends, offset):
    start, end = sorted(ends)
    within = [moment for moment in starts if start <= moment <= end]
    with reading(engine) as connection:
        total, before, skip = connection.execute(PLACE, {**stretch(client, start, end), "offset": offset}).one()
    assert total == len(within)
    left = [moment for moment in within if moment < before]
    if offset < len(within):
        assert left[skip:] == within[offset:]
        assert skip < 200, "no more than there are in an hour"


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(ends=st.tuples(MOMENTS, MOMENTS), offset=st.integers(490, 2100))
def test_a_page_far_down_is_the_one_that_stepping_there_would_give(engine, client, starts, ends, offset):
    start, end = sorted(ends)
    wanted = Wanted(client, Period(start, end))
    far, total = list_calls(engine, wanted, limit=7, offset=offset)
    everything, _ = list_calls(engine, wanted, limit=5000, offset=0)
    assert total == len(everything)
    assert far == everything[offset : offset + 7]


def test_calls_that_many_bring_at_once_are_all_counted_and_nobody_is_in_anybodys_way(engine):
    client, moment = create_client(engine, f"tallies {uuid.uuid4()}"), datetime(2023, 3, 1, tzinfo=UTC)
    with transaction(engine) as tx:
        tx.execute(text("SELECT call_record_ensure_month(:moment)"), {"moment": moment})

    def bring(number):
        with transaction(engine) as tx:
            hours = range(number % 7, number % 7 + 40)
            tx.execute(insert(CallRecord), [_call(client, moment + timedelta(hours=hour)) for hour in hours])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(bring, range(40)))
    with reading(engine) as connection:
        assert connection.scalar(COUNT, stretch(client, moment, moment + timedelta(days=9))) == 1600


def test_a_call_that_is_removed_is_counted_no_more(engine):
    client, moment = create_client(engine, f"tallies {uuid.uuid4()}"), datetime(2023, 3, 5, tzinfo=UTC)
    with transaction(engine) as tx:
        tx.execute(text("SELECT call_record_ensure_month(:moment)"), {"moment": moment})
        tx.execute(insert(CallRecord), [_call(client, moment + timedelta(hours=n)) for n in range(30)])
        tx.execute(text("DELETE FROM call_record WHERE client_id = :c AND start_time > :m"), {"c": client, "m": moment})
    with reading(engine) as connection:
        assert connection.scalar(COUNT, stretch(client, moment, moment + timedelta(days=9))) == 1


MAY = datetime(2013, 5, 1, tzinfo=UTC)


@pytest.fixture
def in_may(engine):
    """A client with 30 calls of May 2013 and one of June, and how many are counted in both months."""
    client = create_client(engine, f"tallies {uuid.uuid4()}")
    with transaction(engine) as tx:
        for moment in (MAY, MAY + timedelta(days=31)):
            tx.execute(text("SELECT call_record_ensure_month(:moment)"), {"moment": moment})
        tx.execute(insert(CallRecord), [_call(client, MAY + timedelta(days=n, hours=n % 7)) for n in range(31)])
        tx.execute(insert(CallRecord), [_call(client, MAY + timedelta(days=31))])

    def counted():
        with reading(engine) as connection:
            return connection.scalar(COUNT, stretch(client, MAY, MAY + timedelta(days=60)))

    return client, counted


def test_a_month_that_is_given_up_is_counted_no_more(engine, in_may):
    _, counted = in_may
    with transaction(engine) as tx:
        assert tx.scalar(text("SELECT call_record_drop_month(:moment)"), {"moment": MAY + timedelta(days=9)})
        assert not tx.scalar(text("SELECT call_record_drop_month(:moment)"), {"moment": MAY + timedelta(days=9)})
    assert counted() == 1
    with transaction(engine) as tx:
        tx.execute(text("SELECT call_record_ensure_month(:moment)"), {"moment": MAY})
        tx.execute(insert(CallRecord), [_call(in_may[0], MAY)])
    assert counted() == 2


def test_what_is_written_to_a_month_itself_is_counted_too(engine, in_may):
    client, counted = in_may
    with transaction(engine) as tx:
        tx.execute(text("DELETE FROM call_record_2013_05 WHERE client_id = :c"), {"c": client})
    assert counted() == 1
    with transaction(engine) as tx:
        tx.execute(
            text(
                "INSERT INTO call_record_2013_05 (client_id, start_time, uniqueid, source, destination, end_time,"
                " duration, amount) VALUES (:c, :m, 'x', '', '', :m, 0, 0)"
            ),
            {"c": client, "m": MAY},
        )
    assert counted() == 2


@pytest.mark.parametrize("table", ["call_record", "call_record_2013_05"])
@pytest.mark.parametrize("what", ["TRUNCATE {}", "UPDATE {} SET start_time = start_time + interval '1 hour'"])
def test_what_would_leave_the_tallies_behind_is_refused(engine, in_may, table, what):
    with pytest.raises(DatabaseError, match="would stay counted"), transaction(engine) as tx:
        tx.execute(text(what.format(table)))
    assert in_may[1]() == 32
