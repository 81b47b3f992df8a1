"""The demo subscriber: what an integrator's server does with our webhooks, in one small file.

    WEBHOOK_SECRETS=whsec_… python -m dev.subscriber PORT

It verifies each Standard Webhooks signature with the library that integrators use, says in one line what
arrived, and answers 204, or 400 where the signature is wrong. Secrets come from the environment: a command
line is everybody's to read. Several (separated by spaces) are accepted, as during the rotation of a secret.
"""

import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

SECRETS = "WEBHOOK_SECRETS"
LARGEST_BODY = 1024 * 1024
IDLE_SECONDS = 30.0


def is_signed(secrets: Sequence[str], body: bytes, headers: Mapping[str, str]) -> bool:
    """Whether one of the secrets signed exactly these bytes within the last five minutes."""
    return any(_verifies(secret, body, headers) for secret in secrets)


def _verifies(secret: str, body: bytes, headers: Mapping[str, str]) -> bool:
    try:
        Webhook(secret).verify(body, dict(headers), json_parse=False)
    except (WebhookVerificationError, ValueError):  # a ValueError: what the library can't even read
        return False
    return True


def describe(body: bytes, webhook_id: str, signed: bool, now: datetime) -> str:
    """The line to show. Nothing of an unsigned body is shown: anybody may have sent it."""
    if not signed:
        return printable(f"SIGNATURE WRONG  {webhook_id}")
    event = read(body)
    return printable("  ".join([*summary(event), webhook_id, *age(event, now), "signature ok"]))


def read(body: bytes) -> dict[str, Any]:
    """The event, with exact numbers; what is no JSON object is an event without anything."""
    try:
        event = json.loads(body, parse_float=Decimal)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def summary(event: Mapping[str, Any]) -> list[str]:
    """Type, customer and what changed, as far as this type of event has them."""
    data = event["data"] if isinstance(event.get("data"), dict) else {}
    kind = str(event.get("type", "no type"))
    customer = [f"customer {data['customer_id']}"] if "customer_id" in data else []
    return [kind, *customer, *change(kind, data)]


def change(kind: str, data: Mapping[str, Any]) -> list[str]:
    """`status 6` of a status change, `+5 → 30.5` of a credit change; every event carries both, new or not."""
    if kind == "customer.status.changed":
        return [f"status {data.get('status')}"]
    if "balance_after" not in data:
        return []
    delta = f"{signed_number(data['delta'])} → " if "delta" in data else "credit "
    return [f"{delta}{data['balance_after']}"]


def signed_number(value: object) -> str:
    """A number with its sign; anything else as it is."""
    return f"{value:+}" if isinstance(value, int | Decimal) else str(value)


def age(event: Mapping[str, Any], now: datetime) -> list[str]:
    """How long the change took to get here."""
    try:
        changed = datetime.fromisoformat(str(event.get("timestamp")))
        return [f"after {(now - changed).total_seconds() * 1000:.0f} ms"]
    except (ValueError, TypeError):  # no time, or one without an offset
        return []


def printable(text: str) -> str:
    """The text without characters that would steer a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


class Receiver(BaseHTTPRequestHandler):
    """One connection of the deliverer."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    secrets: Sequence[str] = ()

    def do_POST(self) -> None:
        """Take one webhook."""
        body = self.rfile.read(self._length())
        signed = is_signed(self.secrets, body, dict(self.headers))
        webhook_id = self.headers.get("webhook-id", "no webhook-id")
        print(describe(body, webhook_id, signed, datetime.now(UTC)), flush=True)
        self.send_response(HTTPStatus.NO_CONTENT if signed else HTTPStatus.BAD_REQUEST)
        if not signed:
            self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        """Say nothing: one webhook, one line."""

    def _length(self) -> int:
        """A body that is too long is cut off, and so fails its signature."""
        text = self.headers.get("Content-Length", "0")
        if not text.isdigit() or int(text) > LARGEST_BODY:
            self.close_connection = True
        return min(int(text), LARGEST_BODY) if text.isdigit() else 0


def server(port: int, secrets: Sequence[str]) -> ThreadingHTTPServer:
    """The subscriber, listening on loopback; `serve_forever()` runs it."""
    receiver = type("ReceiverWithSecrets", (Receiver,), {"secrets": tuple(secrets)})
    return ThreadingHTTPServer(("127.0.0.1", port), receiver)


def main(port: str) -> None:
    """Serve until ended."""
    secrets = os.environ.get(SECRETS, "").split()
    if not secrets:
        sys.exit(f"{SECRETS} is not set: the secrets of the webhook endpoint, separated by spaces.")
    with server(int(port), secrets) as running:
        print(f"waiting for webhooks on http://127.0.0.1:{port}/", flush=True)
        running.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(*sys.argv[1:])
