"""Subscribers that are broken, or mean it: each attempt ends within the timeout, and says in a word how."""

import time

import pytest

from service.webhooks.dispatch import Summary
from tests.webhooks.subscriber import answers, in_turn, says

HEAD = b"HTTP/1.1 200 OK\r\n"
DRIP = [b"X"] * 200


@pytest.mark.parametrize(
    ("manner", "error"),
    [
        (says(HEAD, *DRIP, every=0.05), "timeout"),
        (says(HEAD, b"Content-Length: 200\r\n\r\n", *DRIP, every=0.05), "timeout"),
        (says(*[b"HTTP/1.1 100 Continue\r\n\r\n"] * 200, every=0.05), "timeout"),
        (says(HEAD, b"X-Half: a hea"), "disconnected"),
        (says(), "disconnected"),
        (says(HEAD, b"Content-Length: 100\r\n\r\n", b"short"), "disconnected"),
        (says(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "bad answer"),
        (says(HEAD, *[b"X: " + b"y" * 8000 + b"\r\n"] * 20_000, b"\r\n"), "bad answer"),
    ],
    ids=[
        "drips its headers",
        "drips its body",
        "continues for ever",
        "hangs up within its headers",
        "hangs up at once",
        "hangs up within its body",
        "speaks something else",
        "sends endless headers",
    ],
)
def test_an_attempt_on_a_subscriber_that(queue, subscriber, send, manner, error):
    queue.owe_to(subscriber.url("/hook", manner))
    began = time.monotonic()
    assert send() == Summary(retry=1)
    assert time.monotonic() - began < 4
    assert queue.attempts()[0].error == error


def test_a_large_answer_is_read_to_16_kilobytes_and_no_further(queue, subscriber, send):
    endless = says(HEAD, b"Content-Length: 1000000000\r\n\r\n", b"x" * 100_000, then_close=False)
    queue.owe_to(subscriber.url("/hook", endless))
    began = time.monotonic()
    assert send() == Summary(retry=1)
    assert time.monotonic() - began < 1
    assert queue.attempts()[0].error == "too large"


def test_a_compression_bomb_is_not_unpacked(queue, subscriber, send):
    queue.owe_to(subscriber.url("/hook", answers(200, "Content-Encoding: gzip", body=b"not even gzip")))
    assert send() == Summary(delivered=1)


def test_a_cookie_is_not_brought_back(queue, subscriber, send):
    queue.owe_to(subscriber.url("/hook", answers(200, "Set-Cookie: a=b; Path=/")), events=30)
    assert send() == Summary(delivered=30)
    assert not [r for r in subscriber.received if "cookie" in r.headers]


def test_a_server_without_tls_behind_https_is_a_failure_of_tls(queue, subscriber, send):
    subscriber.greeting = b"220 mail.example.com ESMTP\r\n"
    queue.owe_to(subscriber.url("/").replace("http://", "https://"))
    assert send() == Summary(retry=1)
    assert queue.attempts()[0].error == "tls"


def test_a_server_that_closes_after_each_answer_costs_no_attempt(queue, subscriber, send):
    bye = says(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
    queue.owe_to(subscriber.url("/hook", bye), events=50)
    assert send() == Summary(delivered=50)


def test_a_server_that_hangs_up_once_gets_the_delivery_again(queue, subscriber, send):
    queue.owe_to(subscriber.url("/hook", in_turn(says(), answers(200))))
    assert send() == Summary(retry=1)
    queue.due_again()
    assert send() == Summary(delivered=1)
