"""`Retry-After` is honoured within bounds, and answers that say 'too much' slow an endpoint down."""

import gzip
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.webhooks.dispatch import Summary
from service.webhooks.retry_after import LONGEST, SHORTEST, seconds_to_wait
from tests.webhooks.subscriber import answers, says

NOW = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)
BEYOND_ANY_CLOCK = [
    "Mon, 01 Jan 2020 00:00:00 +99999999999999",
    "Mon, 01 Jan 2020 00:00:00 -99999999999999",
    "Mon, 99999999999999999999 Jan 2020 00:00:00 GMT",
    "Mon, 01 Jan 2020 99999999999999999999:00:00 GMT",
    "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
]
_digits = st.integers(0, 10**20).map(str) | st.integers(0, 99).map("{:02}".format)
_dates = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Mon", "Monday", ""]),
    _digits,
    st.sampled_from(["Jan", "Feb", "December", "Smarch"]),
    _digits,
    _digits,
    _digits,
    _digits,
    st.sampled_from(["GMT", "-0000", "EST", ""]) | st.builds("{}{}".format, st.sampled_from("+-"), _digits),
)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("Sun, 01 Nov 2026 12:02:00 GMT", 120.0),
        ("Sun, 01 Nov 2026 12:02:00 -0000", 120.0),
        ("0", SHORTEST),
        ("Sun, 01 Nov 2026 11:00:00 GMT", SHORTEST),
        ("999999999999999999", LONGEST),
        ("Sun, 01 Nov 2099 12:00:00 GMT", LONGEST),
    ],
)
def test_seconds_and_dates_are_read_and_kept_within_bounds(header, seconds):
    assert seconds_to_wait(header, NOW) == seconds


@pytest.mark.parametrize("header", [None, "", "soon", "-5", "1.5", "1e3", "٣", "1" * 400, "Sun, 99 Nov 2026 12:00 GMT"])
def test_what_cannot_be_read_asks_for_nothing(header):
    assert seconds_to_wait(header, NOW) is None


@pytest.mark.parametrize("header", BEYOND_ANY_CLOCK)
def test_a_date_beyond_any_clock_asks_for_nothing(header):
    assert seconds_to_wait(header, NOW) is None


def test_a_date_at_the_end_of_time_is_still_a_date():
    assert seconds_to_wait("Mon, 01 Jan 0001 00:00:00 +2359", NOW) == SHORTEST
    assert seconds_to_wait("Fri, 31 Dec 9999 23:59:59 -2359", NOW) == LONGEST


@given(_dates | st.text())
def test_whatever_the_header_holds_it_asks_for_a_bounded_wait_or_for_nothing(header):
    wait = seconds_to_wait(header, NOW)
    assert wait is None or SHORTEST <= wait <= LONGEST


@pytest.mark.parametrize("header", [BEYOND_ANY_CLOCK[0], "90"])
def test_a_success_is_a_success_whatever_its_header_asks(queue, subscriber, send, header):
    endpoint = queue.owe_to(subscriber.url("/hook", answers(200, f"Retry-After: {header}")), events=20)
    assert send() == Summary(delivered=20)
    assert len(subscriber.received) == 20
    assert queue.health(endpoint).open_until is None


@pytest.mark.parametrize("header", BEYOND_ANY_CLOCK)
def test_a_refusal_with_a_header_that_cannot_be_read_is_a_refusal(queue, subscriber, send, header):
    queue.owe_to(subscriber.url("/busy", answers(503, f"Retry-After: {header}")))
    assert send() == Summary(retry=1)
    assert [(a.status_code, a.error) for a in queue.attempts()] == [(503, "status")]


@pytest.mark.parametrize("status", [429, 503])
def test_an_endpoint_that_asks_for_a_pause_gets_it(queue, subscriber, send, status):
    endpoint = queue.owe_to(subscriber.url("/busy", answers(status, "Retry-After: 90")), events=30)
    send()
    asked = len(subscriber.received)
    assert asked <= 8  # the first few, which were under way together
    assert 80 < queue.health(endpoint).pause <= 90
    waits = queue.rows(
        "SELECT extract(epoch FROM next_attempt_at - now()) AS s FROM webhook_delivery WHERE attempts = 1"
    )
    assert len(waits) == asked
    assert all(80 < row.s <= 90 for row in waits)
    assert send() == Summary()


def test_the_schedule_counts_where_it_is_longer_than_the_wish(queue, subscriber, send):
    queue.owe_to(subscriber.url("/busy", answers(500, "Retry-After: 1")))
    send()
    assert queue.scalar("SELECT extract(epoch FROM next_attempt_at - now()) FROM webhook_delivery") > 2.5


def test_a_wish_gives_no_more_attempts_than_the_schedule_has(queue, subscriber, send):
    queue.owe_to(subscriber.url("/busy", answers(503, "Retry-After: 1")))
    for _ in range(9):
        assert send() == Summary(retry=1)
        queue.due_again()
    assert send() == Summary(failed=1)


def test_an_answer_that_is_too_long_is_a_failed_attempt(queue, subscriber, send):
    queue.owe_to(subscriber.url("/short", answers(200, body=b"x" * 16 * 1024)))
    queue.owe_to(subscriber.url("/long", answers(200, body=b"x" * (16 * 1024 + 1))))
    assert send() == Summary(delivered=1, retry=1)
    assert [(a.status_code, a.error) for a in queue.attempts() if a.outcome == "retry"] == [(200, "too large")]


def test_an_answer_without_end_is_a_failed_attempt_long_before_the_timeout(queue, subscriber, send):
    queue.owe_to(subscriber.url("/endless", says(b"HTTP/1.1 200 OK\r\n\r\n", *[b"x" * 8192] * 50, then_close=False)))
    assert send() == Summary(retry=1)
    assert [a.error for a in queue.attempts()] == ["too large"]


def test_a_compressed_answer_is_not_unpacked(queue, subscriber, send):
    bomb = gzip.compress(b"\0" * 10_000_000)
    assert len(bomb) < 16 * 1024
    queue.owe_to(subscriber.url("/bomb", answers(200, "Content-Encoding: gzip", body=bomb)))
    assert send() == Summary(delivered=1)
