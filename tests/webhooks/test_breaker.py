"""A dead endpoint costs a probe now and then; what it is owed waits without using up its attempts."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from service.webhooks.allot import Limits
from service.webhooks.breaker import FIRST_PAUSE, LONGEST_GAP, LONGEST_PAUSE, OPENS_AT, Health, Showing, after, pause
from service.webhooks.claim import Rotation, claim
from service.webhooks.dispatch import Summary
from service.webhooks.record import outcome, record
from service.webhooks.schedule import LONGEST_WAIT
from service.webhooks.verdict import CutShort, Delivered, Failure, Retryable
from tests.webhooks.subscriber import NEVER, answers, in_turn

NOW = datetime(2026, 11, 1, tzinfo=UTC)
LIMITS = Limits(room=1000, per_endpoint=100, allowance=lambda _: 100, lease=30.0, at_once=1000)
FAILED = Showing(failed=1)


def take(queue):
    return claim(queue.engine, LIMITS, Rotation()).claims


def end(queue, claims, verdict):
    record(queue.engine, [outcome(c, verdict, 7) for c in claims])


def at(seconds):
    return NOW + timedelta(seconds=seconds)


class TestTheRule:
    def test_it_opens_at_the_fifth_failure_in_a_row(self):
        health = Health()
        for failures in range(1, OPENS_AT):
            health = after(health, FAILED, NOW, 0.5)
            assert health == Health(failures, NOW, None, NOW)
        assert after(health, FAILED, at(9), 0.5) == Health(OPENS_AT, NOW, at(9 + FIRST_PAUSE), at(9))

    def test_a_success_between_begins_the_count_anew(self):
        health = after(Health(4, NOW), Showing(delivered=True, failed=3), NOW, 0.5)
        assert health == Health()

    def test_twenty_at_once_open_it_no_longer_than_five(self):
        assert after(Health(), Showing(failed=20), NOW, 0.5) == Health(OPENS_AT, NOW, at(FIRST_PAUSE), NOW)

    def test_what_was_under_way_when_it_opened_neither_lengthens_nor_shortens_the_pause(self):
        opened = Health(OPENS_AT, NOW, at(5), NOW)
        assert after(opened, Showing(failed=7), at(3), 0.5) == Health(OPENS_AT, NOW, at(5), at(3))

    def test_a_failure_long_after_another_begins_a_new_count(self):
        before = Health(9, NOW, at(300), NOW)
        late = NOW + LONGEST_GAP
        assert after(before, FAILED, late, 0.5).failures == 10
        late += timedelta(seconds=1)
        assert after(before, FAILED, late, 0.5) == Health(1, late, None, late)

    def test_however_long_it_lasts_an_outage_that_is_probed_is_one(self):
        health, now = Health(), NOW
        for _ in range(10):
            now += timedelta(seconds=LONGEST_WAIT + LONGEST_PAUSE)
            health = after(health, FAILED, now, 1.0)
        assert health.failing_since == at(LONGEST_WAIT + LONGEST_PAUSE)

    def test_each_probe_that_fails_doubles_the_pause_up_to_five_minutes(self):
        health, now, pauses = Health(OPENS_AT, NOW, at(0)), NOW, []
        for _ in range(8):
            health = after(health, FAILED, now, 0.5)
            pauses.append((health.open_until - now).total_seconds())
            now = health.open_until
        assert pauses == [10, 20, 40, 80, 160, 300, 300, 300]

    def test_pauses_are_spread_by_a_tenth(self):
        assert (pause(99, 0.0), pause(99, 1.0)) == pytest.approx((LONGEST_PAUSE * 0.9, LONGEST_PAUSE * 1.1))

    def test_a_probe_that_is_delivered_closes_it(self):
        assert after(Health(9, NOW, at(5)), Showing(delivered=True), at(6), 0.5) == Health()

    def test_a_wish_to_be_left_alone_opens_it_at_the_first_failure(self):
        assert after(Health(), Showing(failed=1, wait=60.0), NOW, 0.5) == Health(1, NOW, at(60), NOW)

    def test_such_a_wish_holds_although_others_were_delivered_at_the_same_time(self):
        asked = after(Health(), Showing(delivered=True, failed=1, wait=60.0), NOW, 0.5)
        assert asked == Health(0, None, at(60))
        assert after(asked, Showing(delivered=True), at(1), 0.5) == asked


def test_a_dead_endpoint_gets_a_few_requests_and_then_none_and_its_deliveries_wait_untouched(queue, subscriber, send):
    endpoint = queue.owe_to(subscriber.url("/dead", answers(500)), events=50)
    send()
    asked = len(subscriber.received)
    assert OPENS_AT <= asked < OPENS_AT + 8  # and those under way
    health = queue.health(endpoint)
    assert health.failures == OPENS_AT
    assert 3 < health.pause <= FIRST_PAUSE * 1.1
    send()
    assert len(subscriber.received) == asked
    assert sorted(d.attempts for d in queue.deliveries()) == [0] * (50 - asked) + [1] * asked


def test_when_the_pause_is_over_one_probe_goes_out_and_its_failure_doubles_the_pause(queue, subscriber, send):
    endpoint = queue.owe_to(subscriber.url("/dead", answers(500)), events=50)
    send()
    asked = len(subscriber.received)
    for failures, least in ((6, 9), (7, 18)):
        queue.breakers_half_open()
        assert send() == Summary(retry=1)
        assert queue.health(endpoint).failures == failures
        assert least - 1 < queue.health(endpoint).pause <= least * 1.3
    assert len(subscriber.received) == asked + 2


def test_a_probe_that_succeeds_lets_everything_through(queue, subscriber, send):
    endpoint = queue.owe_to(subscriber.url("/back", in_turn(*[answers(503)] * 12, answers(200))), events=50)
    send()
    for _ in range(12):
        queue.due_again()
        send()
    assert queue.statuses() == {"delivered": 50}
    health = queue.health(endpoint)
    assert (health.failures, health.failing_since, health.open_until) == (0, None, None)


def test_many_dispatchers_send_one_probe_between_them(queue):
    queue.owe_to("https://a.example/", events=30)
    end(queue, take(queue)[:5], Retryable(Failure.TIMEOUT))
    queue.leases_run_out()
    assert take(queue) == ()
    queue.breakers_half_open()
    with ThreadPoolExecutor(6) as pool:
        claimed = [c for claims in pool.map(lambda _: take(queue), range(12)) for c in claims]
    assert len(claimed) == 1
    end(queue, claimed, CutShort())  # our own fault, so the breaker is where it was
    assert len(take(queue)) == 1


def test_a_probe_may_be_a_retry_or_a_first_attempt_but_never_one_of_each(queue):
    queue.owe_to("https://a.example/", events=30)
    end(queue, take(queue)[:5], Retryable(Failure.TIMEOUT))
    queue.leases_run_out()
    queue.due_again()
    assert len(take(queue)) == 1


def test_an_open_breaker_holds_up_no_other_endpoint(queue, subscriber, send):
    for n in range(30):
        queue.owe_to(subscriber.url(f"/dead/{n}", answers(500)), events=8)
    send()
    living = queue.owe_to(subscriber.url("/living"), events=40)
    began = time.monotonic()
    assert send() == Summary(delivered=40)
    assert time.monotonic() - began < 5
    assert queue.statuses(living) == {"delivered": 40}


def test_an_endpoint_that_never_answers_is_left_alone_too(queue, subscriber, send):
    endpoint = queue.owe_to(subscriber.url("/silent", NEVER), events=40)
    send()
    assert queue.health(endpoint).failures == OPENS_AT
    assert len(subscriber.received) < 12


def test_two_that_record_for_the_same_endpoints_at_once_count_every_failure(queue):
    for n in range(6):
        queue.owe_to(f"https://{n}.example/", events=4)
    claims = take(queue)
    batches = [claims[n::4] for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda batch: end(queue, batch[::-1], Retryable(Failure.TIMEOUT)), batches))
    rows = queue.rows("SELECT failures FROM webhook_endpoint WHERE client_id = :client")
    assert [row.failures for row in rows] == [4] * 6


def test_a_late_result_moves_no_breaker(queue):
    endpoint = queue.owe_to("https://a.example/", events=1)
    late = take(queue)
    queue.leases_run_out()
    take(queue)
    end(queue, late, Retryable(Failure.TIMEOUT))
    assert queue.health(endpoint).failures == 0


@pytest.mark.parametrize("ours", [CutShort(), Retryable(Failure.INTERNAL)])
def test_what_is_our_own_fault_is_held_against_nobody(queue, ours):
    endpoint = queue.owe_to("https://a.example/", events=9)
    end(queue, take(queue), ours)
    assert queue.health(endpoint).failures == 0


def test_a_healthy_endpoint_is_not_written_to(queue):
    endpoint = queue.owe_to("https://a.example/", events=9)
    before = queue.scalar("SELECT xmin::text FROM webhook_endpoint WHERE id = :id", id=endpoint)
    end(queue, take(queue), Delivered(200))
    assert queue.scalar("SELECT xmin::text FROM webhook_endpoint WHERE id = :id", id=endpoint) == before
