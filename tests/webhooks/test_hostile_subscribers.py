"""Subscribers that are broken, or mean it: each attempt ends within the timeout, and says in a word how."""

import datetime
import ipaddress
import ssl
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from service.webhooks.dispatch import Summary, dispatch
from tests.webhooks.subscriber import NEVER, Subscriber, answers, in_turn, says

HEAD = b"HTTP/1.1 200 OK\r\n"
DRIP = [b"X"] * 200
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("manner", "error"),
    [
        (says(HEAD, *DRIP, every=0.05), "timeout"),
        (says(HEAD, b"Content-Length: 200\r\n\r\n", *DRIP, every=0.05), "timeout"),
        (says(CONTINUE, every=0.05, repeat=200), "bad answer"),
        (says(CONTINUE * 2000, repeat=1_000_000), "bad answer"),
        (NEVER, "timeout"),
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
        "continues for ever, as fast as it can",
        "never answers",
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


@pytest.fixture
def flood():
    """The URL of a server that sends interim answers without end."""
    command = [sys.executable, "-m", "tests.webhooks.flooding"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.kill()


def test_a_flood_of_interim_answers_keeps_no_other_endpoint_waiting(queue, engine, settings, subscriber, flood):
    floods = [queue.owe_to(f"{flood}/{n}", events=4) for n in range(20)]
    queue.run("UPDATE webhook_endpoint SET deleted_at = now()")
    healthy = queue.endpoint(subscriber.url("/healthy", answers(200, after=0.02)))
    queue.owe(events=200)
    queue.run("UPDATE webhook_endpoint SET deleted_at = NULL")
    dispatch(engine, replace(settings, webhook_timeout=6.0), stop=lambda: False)
    assert queue.statuses(healthy) == {"delivered": 200}
    assert queue.health(healthy).failures == 0
    attempts = attempts_by_endpoint(queue)
    assert (
        max(a.milliseconds for a in attempts[healthy]) < 3000
    )  # a loop that is held up takes all of the timeout, and more
    assert {a.error for endpoint in floods for a in attempts[endpoint]} == {"bad answer"}


def attempts_by_endpoint(queue):
    grouped = defaultdict(list)
    for attempt in queue.rows(
        "SELECT d.endpoint_id, a.* FROM webhook_attempt a JOIN webhook_delivery d ON d.id = a.delivery_id"
    ):
        grouped[attempt.endpoint_id].append(attempt)
    return grouped


def test_an_answer_after_a_few_interim_ones_is_the_answer_also_the_hundredth_on_a_connection(queue, subscriber, send):
    async def slowly_but_surely(_received, writer):
        writer.write(CONTINUE * 10 + OK)

    queue.owe_to(subscriber.url("/hook", slowly_but_surely), events=100)
    assert send() == Summary(delivered=100)
    assert subscriber.connections < 100


def test_an_answer_after_too_many_interim_ones_is_none(queue, subscriber, send):
    queue.owe_to(subscriber.url("/hook", says(CONTINUE * 11 + OK, then_close=False)))
    assert send() == Summary(retry=1)
    assert queue.attempts()[0].error == "bad answer"


def test_a_large_answer_is_read_to_16_kilobytes_and_no_further(queue, subscriber, send):
    endless = says(HEAD, b"Content-Length: 1000000000\r\n\r\n", b"x" * 100_000, then_close=False)
    queue.owe_to(subscriber.url("/hook", endless))
    began = time.monotonic()
    assert send() == Summary(retry=1)
    assert time.monotonic() - began < 1
    assert queue.attempts()[0].error == "too large"


def test_a_large_answer_that_ends_is_no_success_either(queue, subscriber, send):
    queue.owe_to(subscriber.url("/hook", answers(200, body=b"x" * 10_000_000)))
    assert send() == Summary(retry=1)
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


@pytest.fixture(params=["signed by itself", "for another name", "over for a year"])
def certificate(request, tmp_path):
    """The file of a certificate and its key that no client should trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hooks.example.com")])
    address = "127.9.9.9" if request.param == "for another name" else "127.0.0.1"
    ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(
        days=-365 if request.param.startswith("over") else 1
    )
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(ends - datetime.timedelta(days=30))
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file, pem = tmp_path / "certificate.pem", serialization.Encoding.PEM
    clear = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(clear + made.public_bytes(pem))
    return file, request.param


def test_a_certificate_that_does_not_verify_is_a_failure_of_tls(queue, send, certificate, monkeypatch):
    file, wrong = certificate
    if wrong != "signed by itself":
        monkeypatch.setenv("SSL_CERT_FILE", str(file))  # trusted now, and still not good for this
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(file)
    with Subscriber(served) as subscriber:
        queue.owe_to(subscriber.url("/").replace("http://", "https://"))
        assert send() == Summary(retry=1)
        assert subscriber.received == []
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
