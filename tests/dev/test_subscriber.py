"""The demo subscriber over real HTTP: it takes what is signed, refuses what is not, and says so in one line."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from standardwebhooks import Webhook

from dev import subscriber
from dev.embedded.ports import free_port

ROOT = Path(__file__).parents[2]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
CREDIT = {"customer_id": 1, "seq": 4, "kind": "credit.set", "delta": 5, "balance_after": 30.5, "status": 1}

Send = Callable[..., requests.Response]


@pytest.fixture
def send() -> Iterator[Send]:
    """Posts a webhook to a running subscriber that knows SECRET."""
    with subscriber.server(0, [OTHER, SECRET]) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def post(body: bytes, secret: str = SECRET, at: datetime | None = None, **changed: str) -> requests.Response:
            at = at or datetime.now(UTC)
            signature = Webhook(secret).sign("msg_1", at, body.decode("latin-1"))
            signed = {"id": "msg_1", "timestamp": str(int(at.timestamp())), "signature": signature, **changed}
            headers = {f"webhook-{name}": value for name, value in signed.items()}
            return requests.post(f"http://127.0.0.1:{server.server_port}/", body, headers=headers, timeout=5)

        yield post
        server.shutdown()


def event(data: object = CREDIT, name: str = "customer.credit.changed", **more: object) -> bytes:
    return json.dumps({"type": name, "timestamp": "2026-01-01T00:00:00Z", "data": data, **more}).encode()


def test_a_signed_webhook_is_taken_and_shown_in_one_line(send: Send, capsys: pytest.CaptureFixture[str]):
    assert send(event()).status_code == 204
    line = capsys.readouterr().out
    assert line.startswith("customer.credit.changed  customer 1  +5 → 30.5  msg_1  after ")
    assert line.endswith("ms  signature ok\n")


@pytest.mark.parametrize(
    "changed",
    [
        {"secret": "whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="},
        {"at": datetime.now(UTC) - timedelta(minutes=6)},
        {"id": "msg_2"},
        {"signature": "v1,"},
        {"signature": "nonsense"},
        {"signature": "v1,ö"},
        {"timestamp": "yesterday"},
    ],
)
def test_a_webhook_with_a_wrong_signature_is_refused_and_not_shown(
    send: Send, capsys: pytest.CaptureFixture[str], changed: dict[str, str]
):
    assert send(event(), **changed).status_code == 400
    line = capsys.readouterr().out
    assert line.startswith("SIGNATURE WRONG  msg_")
    assert "customer" not in line


def test_a_body_that_is_no_text_is_refused(send: Send):
    assert send(b"\xff\xfe").status_code == 400


def test_a_body_without_headers_or_end_is_refused(send: Send):
    assert requests.post(send(event()).url, b"{}", timeout=5).status_code == 400
    assert send(b" " * (subscriber.LARGEST_BODY + 1)).status_code == 400


@pytest.mark.parametrize(
    ("body", "start"),
    [
        (event({**CREDIT, "delta": -0.1}), "customer.credit.changed  customer 1  -0.1 → 30.5  msg_1"),
        (
            event({**CREDIT, "delta": 0, "status": 6}, "customer.status.changed"),
            "customer.status.changed  customer 1  status 6  msg_1",
        ),
        (event({**CREDIT, "delta": 0}), "customer.credit.changed  customer 1  +0 → 30.5  msg_1"),
        (event({"balance_after": 3}, "customer.credit.low"), "customer.credit.low  credit 3  msg_1"),
        (event({"endpoint_id": 7}, "webhook.disabled"), "webhook.disabled  msg_1"),
        (event("odd", "odd"), "odd  msg_1"),
        (b'{"test": 2432232314}', "no type  msg_1  signature ok"),
        (b"[1]", "no type  msg_1  signature ok"),
        (b"not json", "no type  msg_1  signature ok"),
        (event({}, "\x1b[31mred\nnext"), "?[31mred?next  msg_1"),
    ],
)
def test_every_type_of_event_has_its_line(send: Send, capsys: pytest.CaptureFixture[str], body: bytes, start: str):
    assert send(body).status_code == 204
    assert capsys.readouterr().out.startswith(start)


def test_the_age_of_an_event_is_shown():
    body = json.dumps({"type": "t", "timestamp": "2026-01-01T00:00:00Z"}).encode()
    now = datetime(2026, 1, 1, 0, 0, 0, 84_000, tzinfo=UTC)
    assert subscriber.describe(body, "msg_1", True, now) == "t  msg_1  after 84 ms  signature ok"


def test_without_a_secret_it_refuses_to_start():
    environ = {**os.environ, subscriber.SECRETS: ""}
    command = [sys.executable, "-m", "dev.subscriber", str(free_port())]
    answer = subprocess.run(command, cwd=ROOT, env=environ, check=False, capture_output=True, text=True, timeout=20)
    assert answer.returncode == 1
    assert answer.stderr.startswith(f"{subscriber.SECRETS} is not set")
