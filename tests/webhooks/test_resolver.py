"""Names whose servers don't answer: they cost their own endpoints an attempt, and no other one anything."""

import asyncio
import socket
import subprocess
import sys
import threading
import time

import pytest

from service.webhooks import resolver as module
from service.webhooks.dispatch import Summary
from service.webhooks.resolver import NoThread, ThreadedResolver, addresses_of


class NameServers:
    """Where `stuck…` gets no answer until the end of the test, or until `answer` is set; all else is this machine."""

    def __init__(self):
        self.answer = threading.Event()
        self.asked = []
        self.when_asked = lambda: None
        self._one_at_a_time = threading.Lock()
        self._real = socket.getaddrinfo

    def lookup(self, host, *args, **kwargs):
        if host.startswith("stuck"):
            with self._one_at_a_time:
                self.asked.append(host)
                self.when_asked()
            self.answer.wait(30)
        return self._real("127.0.0.1", *args, **kwargs)


@pytest.fixture
def names(monkeypatch):
    servers = NameServers()
    monkeypatch.setattr(socket, "getaddrinfo", servers.lookup)
    yield servers
    servers.answer.set()


@pytest.fixture
def few_threads(monkeypatch):
    monkeypatch.setattr(module, "LOOKUPS", 10)
    monkeypatch.setattr(module, "QUEUE", 0.2)


def endpoints(queue, subscriber, stuck):
    """Endpoints with names that are stuck, and a good one that hears only of changes of status."""
    bad = [queue.endpoint(f"http://stuck{n}.example:{subscriber.port}/", ["customer.created"]) for n in range(stuck)]
    good = queue.endpoint(f"http://hooks.example:{subscriber.port}/good", ["customer.status.changed"])
    queue.owe(kind="customer.created")
    return bad, good


def owe_once_asked(queue, names, lookups):
    """Owe something to the good endpoint when so many names are stuck."""

    def when_asked():
        if len(names.asked) == lookups:
            queue.owe(events=3, kind="status.set")

    names.when_asked = when_asked


def test_names_whose_servers_do_not_answer_hold_up_no_other(queue, subscriber, send, names):
    bad, good = endpoints(queue, subscriber, stuck=150)
    owe_once_asked(queue, names, lookups=150)
    assert send() == Summary(delivered=3, retry=150)
    assert len(subscriber.at("/good")) == 3
    assert queue.health(good).failures == 0
    assert {a.error for a in queue.attempts() if a.outcome == "retry"} == {"timeout"}
    assert {queue.health(endpoint).failures for endpoint in bad} == {1}


def test_an_attempt_without_a_thread_for_its_lookup_is_not_held_against_the_endpoint(
    queue, subscriber, send, names, few_threads
):
    bad, good = endpoints(queue, subscriber, stuck=20)
    owe_once_asked(queue, names, lookups=10)
    assert send() == Summary(retry=23)
    assert sorted(a.error for a in queue.attempts()) == ["internal"] * 13 + ["timeout"] * 10
    assert (queue.health(good).failures, queue.health(good).failing_since) == (0, None)
    assert sum(queue.health(endpoint).failures for endpoint in bad) == 10
    names.answer.set()
    queue.due_again()
    assert send() == Summary(delivered=23)


def test_a_lookup_that_nobody_waits_for_any_more_still_has_its_thread(names, few_threads):
    async def attempts():
        resolver = ThreadedResolver()
        given_up = [asyncio.create_task(resolver.resolve(f"stuck{n}.example")) for n in range(10)]
        await asyncio.sleep(0.1)
        for task in given_up:
            task.cancel()
        with pytest.raises(NoThread):
            await resolver.resolve("hooks.example")
        names.answer.set()
        return await resolver.resolve("hooks.example")

    assert asyncio.run(attempts())[0]["host"] == "127.0.0.1"


def test_a_crowd_of_good_names_waits_its_turn(names, few_threads):
    async def crowd():
        resolver = ThreadedResolver()
        return await asyncio.gather(*(resolver.resolve(f"hooks{n}.example") for n in range(200)))

    assert len(asyncio.run(crowd())) == 200


def test_a_machine_that_has_no_threads_left_is_no_fault_of_the_name(names, few_threads, monkeypatch):
    def start(_thread):
        raise RuntimeError("can't start new thread")

    async def attempts():
        resolver = ThreadedResolver()
        with monkeypatch.context() as full:
            full.setattr(module.Thread, "start", start)
            for _ in range(20):
                with pytest.raises(NoThread):
                    await resolver.resolve("hooks.example")
            assert addresses_of("hooks.example", 443) == ()
        return await resolver.resolve("hooks.example")

    assert asyncio.run(attempts())[0]["host"] == "127.0.0.1"


ENDS = """
import asyncio, contextlib, socket, time
from service.webhooks.resolver import ThreadedResolver
socket.getaddrinfo = lambda *_, **__: time.sleep(60)
with contextlib.suppress(TimeoutError):
    asyncio.run(asyncio.wait_for(ThreadedResolver().resolve("stuck.example"), 0.1))
"""


def test_a_process_that_ends_does_not_wait_for_a_name_server():
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", ENDS], check=True, timeout=50)
    assert time.monotonic() - began < 30
