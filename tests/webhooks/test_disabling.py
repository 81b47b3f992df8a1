"""An endpoint that is given up: when, why, who is told, and that nothing it was owed is lost."""

import json

import pytest

from service.access.keys import create_client
from service.db.transaction import transaction
from service.webhooks.allot import Limits
from service.webhooks.breaker import OPENS_AT
from service.webhooks.claim import Rotation, claim
from service.webhooks.endpoints import change_endpoint
from service.webhooks.record import outcome, record
from service.webhooks.vault import Vault
from service.webhooks.verdict import Delivered, Failure, Permanent, Retryable
from tests.webhooks.queue import Queue
from tests.webhooks.subscriber import answers

LIMITS = Limits(room=1000, per_endpoint=100, allowance=lambda _: 100, lease=30.0, at_once=1000)
GONE = Permanent(Failure.GONE, 410)


def end_all(queue, verdict, **options):
    claims = claim(queue.engine, LIMITS, Rotation()).claims
    record(queue.engine, [outcome(c, verdict, 7) for c in claims], **options)
    return claims


def failing_for(queue, interval):
    queue.run(
        "UPDATE webhook_endpoint SET failing_since = now() - CAST(:interval AS interval), failures = 30, "
        "last_failed_at = now() - interval '1 day' WHERE client_id = :client",
        interval=interval,
    )


def test_after_five_days_of_nothing_but_failures_it_is_disabled(queue):
    endpoint = queue.owe_to("https://a.example/")
    failing_for(queue, "4 days 23 hours")
    end_all(queue, Retryable(Failure.TIMEOUT))
    assert queue.health(endpoint).disabled_at is None
    failing_for(queue, "5 days 1 second")
    queue.due_again()
    end_all(queue, Retryable(Failure.TIMEOUT))
    assert queue.health(endpoint).disabled_at is not None
    assert queue.health(endpoint).disabled_reason == "failing for 5 days"


def test_one_delivery_in_those_five_days_saves_it(queue):
    endpoint = queue.owe_to("https://a.example/")
    failing_for(queue, "6 days")
    end_all(queue, Delivered(200))
    health = queue.health(endpoint)
    assert (health.disabled_at, health.failures, health.failing_since) == (None, 0, None)


@pytest.mark.parametrize("noted", ["now() - interval '31 hours'", "NULL"])  # NULL: it failed before this was noted
def test_two_failures_far_apart_are_not_five_days_of_failing(queue, noted):
    endpoint = queue.owe_to("https://a.example/")
    failing_for(queue, "40 days")
    queue.run(f"UPDATE webhook_endpoint SET last_failed_at = {noted} WHERE client_id = :client")
    end_all(queue, Retryable(Failure.STATUS, 502))
    health = queue.health(endpoint)
    assert (health.disabled_at, health.failures, health.open_until) == (None, 1, None)
    assert health.failing_since == health.last_failed_at is not None


def test_how_long_is_for_the_operator_to_say(queue):
    endpoint = queue.owe_to("https://a.example/")
    failing_for(queue, "25 hours")
    end_all(queue, Retryable(Failure.STATUS, 500), disable_after=86_400)
    assert queue.health(endpoint).disabled_reason == "failing for 1 day"


def test_one_that_says_gone_is_disabled_at_once_and_its_deliveries_are_skipped(queue, subscriber, send):
    endpoint = queue.owe_to(subscriber.url("/gone", answers(410)), events=300)
    send()
    assert queue.health(endpoint).disabled_reason == "gone"
    asked = len(subscriber.received)
    assert asked <= 8
    assert queue.statuses() == {"failed": asked, "skipped": 300 - asked}
    assert len(queue.attempts()) == asked


def test_the_clients_other_endpoints_are_told_if_they_want_it(queue, engine):
    wants, wants_all = queue.endpoint("https://b.example/", ["webhook.disabled"]), queue.endpoint("https://c.example/")
    queue.endpoint("https://d.example/", ["customer.created"])
    off, deleted = queue.endpoint("https://e.example/"), queue.endpoint("https://f.example/")
    stranger = Queue(engine, create_client(engine, "stranger"))
    stranger.endpoint("https://g.example/")
    endpoint = queue.owe_to("https://a.example/hook?token=secret")
    queue.run("UPDATE webhook_endpoint SET disabled_at = now() WHERE id = :id", id=off)
    queue.run("UPDATE webhook_endpoint SET deleted_at = now() WHERE id = :id", id=deleted)
    end_all(queue, GONE)
    told = [d for d in queue.deliveries() if d.event_type == "webhook.disabled"]
    assert {d.endpoint_id for d in told} == {wants, wants_all}
    assert {(d.customer_id, d.status, d.attempts) for d in told} == {(0, "pending", 0)}
    assert len({(d.seq, d.webhook_id, bytes(d.body)) for d in told}) == 1
    message = json.loads(told[0].body)
    assert message["type"] == "webhook.disabled"
    assert message["data"] == {"endpoint_id": str(endpoint), "url": "https://a.example/hook", "reason": "gone"}
    assert stranger.statuses() == {}


def test_it_is_told_once(queue):
    queue.owe_to("https://a.example/", events=3)
    queue.endpoint("https://b.example/")
    claims = claim(queue.engine, LIMITS, Rotation()).claims
    for one in claims:
        record(queue.engine, [outcome(one, GONE, 7)])
    assert [d.event_type for d in queue.deliveries()].count("webhook.disabled") == 1


def changed(queue, endpoint, **said):
    with transaction(queue.engine) as tx:
        change_endpoint(tx, queue.client_id, endpoint, said, Vault("k"))


def test_a_410_of_the_old_url_neither_disables_the_new_one_nor_ends_what_it_is_owed(queue):
    endpoint = queue.owe_to("https://old.example/")
    (under_way,) = claim(queue.engine, LIMITS, Rotation()).claims
    changed(queue, endpoint, url="https://8.8.8.8/new")
    record(queue.engine, [outcome(under_way, GONE, 7)])
    assert queue.health(endpoint).disabled_at is None
    assert queue.statuses() == {"pending": 1}
    (attempt,) = queue.attempts()
    assert (attempt.outcome, attempt.status_code, attempt.error) == ("retry", 410, "gone")


def test_a_410_that_was_under_way_does_not_disable_again_what_was_enabled_again(queue):
    endpoint = queue.owe_to("https://a.example/", events=2)
    one, other = claim(queue.engine, LIMITS, Rotation()).claims
    record(queue.engine, [outcome(one, GONE, 7)])
    changed(queue, endpoint, disabled=False)
    record(queue.engine, [outcome(other, GONE, 7)])
    assert queue.health(endpoint).disabled_at is None
    assert queue.statuses() == {"failed": 1, "pending": 1}
    queue.due_again()
    end_all(queue, GONE)  # and of what was begun since, it counts
    assert queue.health(endpoint).disabled_reason == "gone"


def test_what_the_old_url_answered_says_nothing_of_the_new_one(queue):
    endpoint = queue.owe_to("https://old.example/", events=9)
    under_way = claim(queue.engine, LIMITS, Rotation()).claims
    changed(queue, endpoint, url="https://8.8.8.8/new")
    record(queue.engine, [outcome(c, Retryable(Failure.TIMEOUT), 7) for c in under_way[:6]])
    assert queue.health(endpoint).failures == 0
    queue.due_again()
    end_all(queue, Retryable(Failure.TIMEOUT))
    failing = queue.health(endpoint)
    assert failing.failures == OPENS_AT
    record(queue.engine, [outcome(c, Delivered(200), 7) for c in under_way[6:]])
    assert queue.health(endpoint).failing_since == failing.failing_since
    assert queue.statuses() == {"pending": 6, "delivered": 3}


def test_a_claim_that_read_the_url_just_before_it_changed_is_the_old_ones(queue):
    endpoint = queue.owe_to("https://old.example/")
    (under_way,) = claim(queue.engine, LIMITS, Rotation()).claims
    changed(queue, endpoint, url="https://8.8.8.8/new")
    queue.run("UPDATE webhook_attempt SET started_at = now() WHERE client_id = :client")
    record(queue.engine, [outcome(under_way, GONE, 7)])
    assert (queue.health(endpoint).disabled_at, queue.statuses()) == (None, {"pending": 1})


def test_what_happens_while_it_is_disabled_is_written_down_as_skipped(queue):
    endpoint = queue.endpoint("https://a.example/", ["customer.status.changed"])
    queue.run("UPDATE webhook_endpoint SET disabled_at = now() WHERE client_id = :client")
    assert queue.owe(kind="status.set") == 0
    assert queue.owe(kind="credit.set") == 0  # it never wanted that
    (delivery,) = queue.deliveries()
    assert (delivery.endpoint_id, delivery.status, delivery.attempts) == (endpoint, "skipped", 0)
    assert delivery.finished_at is not None
    assert delivery.next_attempt_at is None
    assert json.loads(delivery.body)["type"] == "customer.status.changed"


def test_a_deleted_endpoint_is_owed_nothing_at_all(queue):
    queue.endpoint("https://a.example/")
    queue.run("UPDATE webhook_endpoint SET disabled_at = now(), deleted_at = now() WHERE client_id = :client")
    assert queue.owe() == 0
    assert queue.deliveries() == []


@pytest.mark.parametrize("breaker", ["now() + interval '1 hour'", "now() - interval '1 hour'"])
def test_what_waits_behind_a_breaker_is_skipped_once_its_endpoint_is_disabled(queue, send, breaker):
    queue.owe_to("https://a.example/", events=500)
    queue.run(f"UPDATE webhook_endpoint SET disabled_at = now(), open_until = {breaker} WHERE client_id = :client")
    assert send().skipped == 500
    assert queue.statuses() == {"skipped": 500}
