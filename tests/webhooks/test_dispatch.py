import threading
import time
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import structlog
from sqlalchemy import text

from service.db.transaction import transaction
from service.webhooks import dispatch as dispatch_module
from service.webhooks.claim import Rotation
from service.webhooks.dispatch import Summary, dispatch
from service.webhooks.due import has_due
from tests.support.processes import until
from tests.webhooks.queue import SECRET
from tests.webhooks.subscriber import NEVER, answers, in_turn


def test_what_is_owed_is_delivered_and_its_attempt_recorded(queue, subscriber, send):
    queue.owe_to(subscriber.url("/hook"), events=3)
    assert send() == Summary(delivered=3)
    assert queue.statuses() == {"delivered": 3}
    assert {r.body for r in subscriber.received} == {d.body for d in queue.deliveries()}
    for attempt in queue.attempts():
        assert (attempt.number, attempt.outcome, attempt.status_code, attempt.error) == (1, "delivered", 200, None)
        assert attempt.started_at < attempt.finished_at
        assert attempt.milliseconds < 1000


def test_the_headers_are_those_of_standard_webhooks_and_nothing_tells_on_us(queue, subscriber, send):
    queue.owe_to(subscriber.url("/hook"))
    send()
    (received,) = subscriber.received
    assert set(received.headers) == {
        *("host", "content-type", "content-length", "user-agent", "accept", "accept-encoding"),
        *("webhook-id", "webhook-timestamp", "webhook-signature"),
    }
    assert received.headers["content-type"] == "application/json"
    assert received.headers["user-agent"].startswith("pbx-ledger/")
    assert abs(int(received.headers["webhook-timestamp"]) - time.time()) < 5


def test_a_retry_has_the_same_id_and_bytes_and_a_new_timestamp(queue, subscriber, send):
    queue.owe_to(subscriber.url("/hook", in_turn(answers(500), answers(200))))
    assert send() == Summary(retry=1)
    time.sleep(1.1)  # timestamps are whole seconds
    queue.due_again()
    assert send() == Summary(delivered=1)
    first, second = subscriber.received
    assert (first.webhook_id, first.body) == (second.webhook_id, second.body)
    assert first.headers["webhook-timestamp"] < second.headers["webhook-timestamp"]
    assert [(a.number, a.outcome, a.status_code) for a in queue.attempts()] == [
        (1, "retry", 500),
        (2, "delivered", 200),
    ]


def test_a_retry_waits_five_seconds_or_a_fifth_more_or_less(queue, subscriber, send):
    queue.owe_to(subscriber.url("/hook", answers(503)), events=4)
    send()
    waits = queue.rows("SELECT extract(epoch FROM next_attempt_at - now()) AS seconds FROM webhook_delivery")
    assert all(2.5 < row.seconds < 6 for row in waits)
    assert len({row.seconds for row in waits}) == 4  # jitter: they don't come back together
    assert not has_due(queue.engine)


def test_after_the_last_attempt_of_the_schedule_a_delivery_has_failed(queue, subscriber, send):
    queue.owe_to(subscriber.url("/hook", answers(500)))
    for _ in range(9):
        assert send() == Summary(retry=1)
        queue.due_again()
    assert send() == Summary(failed=1)
    assert queue.statuses() == {"failed": 1}
    assert len(subscriber.received) == 10
    assert not has_due(queue.engine)


def test_a_subscriber_that_says_gone_is_not_asked_again(queue, subscriber, send):
    queue.owe_to(subscriber.url("/hook", answers(410)))
    assert send() == Summary(failed=1)
    assert queue.statuses() == {"failed": 1}


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(queue, subscriber, send, status):
    queue.owe_to(subscriber.url("/hook", answers(status, f"Location: {subscriber.url('/elsewhere')}")))
    assert send() == Summary(retry=1)
    assert [r.path for r in subscriber.received] == ["/hook"]
    assert queue.attempts()[0].error == "redirect"


def test_a_subscriber_that_never_answers_is_a_timeout(queue, subscriber, send):
    queue.owe_to(subscriber.url("/hook", NEVER))
    began = time.monotonic()
    assert send() == Summary(retry=1)
    assert 2 < time.monotonic() - began < 4
    assert queue.attempts()[0].error == "timeout"


def test_a_subscriber_that_is_not_there_cannot_be_connected_to(queue, send):
    queue.owe_to("http://127.0.0.1:1/")
    assert send() == Summary(retry=1)
    assert queue.attempts()[0].error == "cannot connect"


def test_no_endpoint_has_more_in_flight_than_its_cap(queue, subscriber, engine, settings):
    queue.owe_to(subscriber.url("/slow", answers(200, after=0.1)), events=60)
    queue.owe_to(subscriber.url("/other", answers(200, after=0.1)), events=60)
    dispatch(engine, replace(settings, webhook_endpoint_in_flight=7), stop=lambda: False)
    assert queue.statuses() == {"delivered": 120}
    assert subscriber.most_at_once == {"/slow": 7, "/other": 7}


def test_no_dispatcher_has_more_in_flight_than_its_cap(queue, subscriber, engine, settings):
    for path in ("/a", "/b", "/c"):
        queue.owe_to(subscriber.url(path, answers(200, after=0.05)), events=30)
    dispatch(engine, replace(settings, webhook_in_flight=10), stop=lambda: False)
    assert queue.statuses() == {"delivered": 90}
    assert sum(subscriber.most_at_once.values()) <= 30
    assert max(subscriber.most_at_once.values()) <= 10


def test_a_dead_endpoint_slows_no_other(queue, subscriber, engine, settings, monkeypatch):
    monkeypatch.setattr(dispatch_module, "DRAIN", 0.1)
    healthy = queue.owe_to(subscriber.url("/healthy", answers(200, after=0.02)), events=300)
    alone = _seconds_until_delivered(queue, healthy, engine, settings)
    queue.run("DELETE FROM webhook_delivery WHERE client_id = :client")
    for n in range(12):  # 12 × 20 would fill a dispatcher's 200 slots, were they handed out first come, first served
        queue.owe_to(subscriber.url(f"/dead/{n}", NEVER), events=50)
    healthy = queue.owe_to(subscriber.url("/healthy", answers(200, after=0.02)), events=300)
    beside_the_dead = _seconds_until_delivered(queue, healthy, engine, settings)
    assert beside_the_dead < 2 * alone + 0.5


def _seconds_until_delivered(queue, endpoint, engine, settings):
    done = threading.Event()
    patient = replace(settings, webhook_timeout=30.0)
    dispatcher = threading.Thread(target=dispatch, args=(engine, patient), kwargs={"stop": done.is_set})
    began = time.monotonic()
    dispatcher.start()
    until(lambda: queue.statuses(endpoint)["delivered"] == 300)
    took = time.monotonic() - began
    done.set()
    dispatcher.join()
    return took


def test_stop_lets_what_is_under_way_finish_and_claims_no_more(queue, subscriber, engine, settings):
    queue.owe_to(subscriber.url("/slow", answers(200, after=0.5)), events=50)
    summary = dispatch(engine, settings, stop=lambda: bool(subscriber.received))
    sent = len(subscriber.received)
    assert summary == Summary(delivered=sent)
    assert queue.statuses() == {"delivered": sent, "pending": 50 - sent}
    assert sent < 10


def test_stop_cuts_short_what_does_not_finish_and_leaves_it_due(queue, subscriber, engine, settings, monkeypatch):
    monkeypatch.setattr(dispatch_module, "DRAIN", 0.3)
    queue.owe_to(subscriber.url("/slow", in_turn(NEVER, answers(200))))
    patient = replace(settings, webhook_timeout=30.0)
    began = time.monotonic()
    assert dispatch(engine, patient, stop=lambda: bool(subscriber.received)) == Summary(abandoned=1)
    assert time.monotonic() - began < 2
    assert queue.statuses() == {"pending": 1}
    assert has_due(engine)
    assert dispatch(engine, settings, stop=lambda: False) == Summary(delivered=1)
    assert [(a.outcome, a.error) for a in queue.attempts()] == [("abandoned", "cut short"), ("delivered", None)]


def test_the_dispatcher_ends_when_there_is_nothing_to_do(queue, send):
    began = time.monotonic()
    assert send() == Summary()
    assert time.monotonic() - began < 1


def test_what_becomes_due_while_it_lingers_is_sent(queue, subscriber, send, monkeypatch):
    monkeypatch.setattr(dispatch_module, "LINGER", 0.3)
    queue.owe_to(subscriber.url("/hook"))
    later = threading.Timer(0.2, queue.owe, kwargs={"events": 1})
    later.start()
    assert send() == Summary(delivered=2)


def test_a_trickle_that_is_answered_at_once_keeps_it_going(queue, subscriber, send, monkeypatch):
    monkeypatch.setattr(dispatch_module, "LINGER", 0.3)
    queue.owe_to(subscriber.url("/hook"))
    for n in range(8):
        threading.Timer(0.15 * n, queue.owe).start()
    assert send() == Summary(delivered=9)


def test_after_its_time_it_hands_over_without_waiting_for_a_slow_endpoint(queue, subscriber, engine, settings):
    """The next dispatcher takes over at once: between the two, a healthy endpoint waits for no slow request."""
    queue.owe_to(subscriber.url("/slow", answers(200, after=1.9)), events=200)
    queue.owe_to(subscriber.url("/also-slow", answers(200, after=1.3)), events=200)
    queue.owe_to(subscriber.url("/healthy", answers(200, after=0.02)), events=2)
    stop_owing = threading.Event()
    owing = threading.Thread(target=_keep_owing, args=(queue, "/healthy", stop_owing))
    owing.start()
    for _ in range(3):
        dispatch(engine, settings, stop=lambda: False, seconds=1.0)
    stop_owing.set()
    owing.join()
    arrivals = [r.at for r in subscriber.at("/healthy")]
    assert max(b - a for a, b in pairwise(arrivals)) < 0.6


def test_after_its_time_it_begins_nothing_with_an_endpoint_that_has_not_answered_it_yet(
    queue, subscriber, engine, settings
):
    """A stranger may be one that never answers, and whoever comes next would have to wait for it."""
    queue.owe_to(subscriber.url("/busy", answers(200, after=0.3)), events=60)
    threading.Timer(0.6, queue.owe_to, [subscriber.url("/stranger")]).start()
    dispatch(engine, settings, stop=lambda: False, seconds=0.5)
    assert len(subscriber.at("/busy")) > 4
    assert subscriber.at("/stranger") == []


def test_what_lies_behind_very_many_that_wait_is_reached_in_the_end(queue, subscriber, engine, settings):
    """Each dispatcher goes on where the one before it in the process ended, however short its life."""
    url = subscriber.url("/hook")
    queue.run(
        "INSERT INTO webhook_endpoint (client_id, id, url, secret) "
        "SELECT :client, lpad(to_hex(n), 32, '0')::uuid, :url, :secret FROM generate_series(1, 3000) AS n",
        url=url,
        secret=SECRET,
    )
    queue.owe()
    last = queue.scalar("SELECT endpoint_id FROM webhook_delivery ORDER BY endpoint_id DESC LIMIT 1")
    queue.run(
        "UPDATE webhook_delivery SET priority = 1, attempts = 3, next_attempt_at = now() + interval '1 hour' "
        "WHERE endpoint_id <> :last",
        last=last,
    )
    queue.run("UPDATE webhook_delivery SET priority = 1, attempts = 3 WHERE endpoint_id = :last", last=last)
    rotation = Rotation()
    sent = [dispatch(engine, settings, stop=lambda: False, rotation=rotation).delivered for _ in range(20)]
    assert sum(sent) == 1


def _keep_owing(queue, path, stop):
    endpoint = queue.scalar(
        "SELECT id FROM webhook_endpoint WHERE client_id = :client AND url LIKE :url", url=f"%{path}"
    )
    queue.run("UPDATE webhook_endpoint SET event_types = '{}' WHERE client_id = :client AND id <> :id", id=endpoint)
    while not stop.is_set():
        queue.owe()
        time.sleep(0.02)


def test_one_line_is_logged_for_each_attempt_without_secret_or_query(queue, subscriber, send):
    queue.owe_to(subscriber.url("/hook?token=hush"), events=1)
    with structlog.testing.capture_logs() as lines:
        send()
    (line,) = [line for line in lines if line["event"] == "webhook attempt"]
    (delivery,) = queue.deliveries()
    assert line["webhook_id"] == delivery.webhook_id
    assert line["event_id"] == f"evt_{delivery.customer_id}_{delivery.seq}"
    assert (line["outcome"], line["status_code"]) == ("delivered", 200)
    assert "hush" not in str(lines)
    assert "whsec" not in str(lines)


def test_a_database_that_hangs_up_costs_no_delivery_and_no_second_post(queue, subscriber, send):
    queue.owe_to(subscriber.url("/hook", answers(200, after=0.3)), events=4)
    trouble = threading.Thread(target=_hang_up_on_whoever_writes, args=(queue, subscriber))
    trouble.start()
    assert send() == Summary(delivered=4)
    trouble.join()
    assert len(subscriber.received) == 4


def _hang_up_on_whoever_writes(queue, subscriber):
    """While the requests are under way, so that their outcomes are the first to be met by it."""
    until(lambda: len(subscriber.received) == 4)
    with transaction(queue.engine) as tx:
        tx.execute(text("LOCK TABLE webhook_delivery IN EXCLUSIVE MODE"))
        waiting = text(
            "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database d ON d.oid = pg_locks.database"
            " WHERE NOT granted AND d.datname = current_database()"
        )
        assert until(lambda: tx.execute(waiting).all())


def test_told_to_stop_before_it_begins_it_takes_nothing(queue, subscriber, engine, settings):
    queue.owe_to(subscriber.url("/hook"), events=5)
    assert dispatch(engine, settings, stop=lambda: True) == Summary()
    assert queue.statuses() == {"pending": 5}
    assert dispatch(engine, settings, stop=lambda: False) == Summary(delivered=5)


def test_the_figures_are_told_while_it_runs_and_add_up_in_the_end(queue, engine, settings, subscriber, monkeypatch):
    monkeypatch.setattr(dispatch_module, "TELL_EVERY", 0.2)
    queue.owe_to(subscriber.url("/hook", answers(200, after=0.3)), events=20)
    told, under_way = [], []

    def tell(outcomes):
        told.append(Counter(outcomes))
        under_way.append(queue.statuses()["delivered"] < 20)

    dispatch(engine, settings, stop=lambda: False, tell=tell)
    assert under_way[0]
    assert sum(told, Counter()) == {"delivered": 20}


def test_one_that_is_slow_to_be_told_holds_up_no_delivery(queue, engine, settings, subscriber, monkeypatch):
    monkeypatch.setattr(dispatch_module, "TELL_EVERY", 0.05)
    queue.owe_to(subscriber.url("/hook", answers(200, after=0.1)), events=40)
    dispatch(engine, settings, stop=lambda: False, tell=lambda _: time.sleep(1.5))
    arrived = [received.at for received in subscriber.received]
    assert max(arrived) - min(arrived) < 1.4
