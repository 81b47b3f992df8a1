"""Dispatchers as processes of their own, killed and doubled."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from service.webhooks.dispatch import Summary
from tests.support.processes import until
from tests.webhooks.queue import SECRET
from tests.webhooks.subscriber import NEVER, answers, in_turn

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def start(config):
    """Starts dispatchers, and ends those that are left."""
    started = []

    def start():
        url = config.database_url.render_as_string(hide_password=False)
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.webhooks.dispatching", url], cwd=ROOT, stdout=subprocess.DEVNULL
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_killed_dispatcher_loses_nothing_and_what_it_cut_short_is_on_record(queue, subscriber, start, send):
    queue.owe_to(subscriber.url("/hook", in_turn(NEVER, answers(200))))
    dispatcher = start()
    until(lambda: subscriber.received)
    dispatcher.kill()
    dispatcher.wait()
    assert queue.statuses() == {"sending": 1}
    queue.leases_run_out()
    assert send() == Summary(delivered=1, abandoned=1)
    first, second = subscriber.received
    assert (first.webhook_id, first.body) == (second.webhook_id, second.body)
    assert [(a.number, a.outcome) for a in queue.attempts()] == [(1, "abandoned"), (2, "delivered")]


def test_dispatchers_killed_again_and_again_lose_nothing_and_every_post_has_its_attempt(queue, subscriber, start, send):
    for n in range(4):
        queue.owe_to(subscriber.url(f"/{n}", answers(200, after=0.05)), events=150)
    for threshold in (50, 150, 250):
        dispatcher = start()
        until(lambda threshold=threshold: len(subscriber.received) > threshold)
        dispatcher.kill()
        dispatcher.wait()
        queue.leases_run_out()
    until(lambda: send().delivered == 0)  # as many turns as a busy machine needs
    assert "abandoned" in {a.outcome for a in queue.attempts()}
    assert queue.statuses() == {"delivered": 600}
    _each_arrived_with_one_id_and_the_same_bytes(queue, subscriber)
    assert len(queue.attempts()) >= len(subscriber.received)
    assert not [a for a in queue.attempts() if a.outcome not in {"delivered", "abandoned"}]


def test_two_dispatchers_send_every_delivery_once_and_keep_to_the_cap_together(queue, subscriber, start):
    for n in range(4):
        queue.owe_to(subscriber.url(f"/{n}", answers(200, after=0.03)), events=200)
    dispatchers = [start(), start()]
    until(lambda: queue.statuses() == {"delivered": 800})
    assert [d.poll() for d in dispatchers] == [None, None]
    assert len(subscriber.received) == 800
    assert max(subscriber.most_at_once.values()) <= 20
    _each_arrived_with_one_id_and_the_same_bytes(queue, subscriber)
    assert len(queue.attempts()) == 800


def test_a_dispatcher_that_is_told_to_stop_finishes_what_is_under_way_and_leaves_the_rest(queue, subscriber, start):
    queue.owe_to(subscriber.url("/hook", answers(200, after=0.3)), events=100)
    dispatcher = start()
    until(lambda: len(subscriber.received) > 3)
    for _ in range(3):
        dispatcher.send_signal(signal.SIGTERM)
    assert dispatcher.wait(5) == 0
    sent = len(subscriber.received)
    assert queue.statuses() == {"delivered": sent, "pending": 100 - sent}
    assert {a.outcome for a in queue.attempts()} == {"delivered"}


def _each_arrived_with_one_id_and_the_same_bytes(queue, subscriber):
    bodies = defaultdict(set)
    for received in subscriber.received:
        Webhook(SECRET).verify(received.body, received.headers)
        bodies[received.path, received.webhook_id].add(received.body)
    owed = {row.webhook_id: bytes(row.body) for row in queue.deliveries()}
    assert {webhook_id for _, webhook_id in bodies} == set(owed)
    assert all(arrived == {owed[webhook_id]} for (_, webhook_id), arrived in bodies.items())
