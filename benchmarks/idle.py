"""How soon an idle system applies a change and delivers its webhook, counted from the 200."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Network

import requests
from sqlalchemy import Engine, text

from benchmarks.figures import Figure
from benchmarks.stage import Stage
from service.access.keys import find_client
from service.db.transaction import reading
from service.webhooks.endpoints import add_endpoint
from service.webhooks.vault import vault_of

PAUSE = 0.2  # seconds between changes: long enough for the system to fall idle again
PATIENCE = 10.0
AIM_APPLY, AIM_DELIVER = 50.0, 200.0  # milliseconds


def measure(stage: Stage, rounds: int, seconds: float) -> Iterator[Figure]:
    """Milliseconds of single changes, each by the aim that it is held to."""
    with _subscriber() as (url, arrived):
        engine = stage.engine()
        add_endpoint(
            engine,
            find_client(engine, "demo"),
            url,
            vault=vault_of(stage.config),
            allow_networks=[IPv4Network("127.0.0.0/8")],
        )
        port = stage.start_web()
        for name in ("worker", "deliver", "clock"):
            stage.start_line(name)
        headers = {"Authorization": f"Bearer {stage.token(port)}"}
        _wait_until_settled(engine)
        count = max(10, round(rounds * seconds / PAUSE / 2))
        changes = [_one(engine, port, headers, arrived, n) for n in range(count)]
    applied, delivered = [list(column) for column in zip(*changes, strict=True)]
    yield Figure("idle: 200 → applied / 50 ms", "ms", _median(applied), [AIM_APPLY], "≤ 1")
    yield Figure("idle: 200 → delivered / 200 ms", "ms", _median(delivered), [AIM_DELIVER], "≤ 1")


def _one(engine: Engine, port: int, headers: dict[str, str], arrived: dict[str, float], n: int) -> tuple[float, float]:
    time.sleep(PAUSE)
    customer = 1 + n % 50
    url = f"http://127.0.0.1:{port}/v1/customer/{customer}/credit"
    event = requests.put(url, json={"credit": n}, headers=headers, timeout=5).headers["Ledger-Event"]
    answered = time.time()
    deadline = answered + PATIENCE
    while event not in arrived:
        if time.time() > deadline:
            raise TimeoutError(f"{event} was not delivered")
        time.sleep(0.001)
    seq = int(event.rsplit("_", 1)[1])
    with reading(engine) as connection:
        applied_at = connection.execute(
            text("SELECT extract(epoch FROM applied_at)::float8 FROM change_log WHERE customer_id = :c AND seq = :s"),
            {"c": customer, "s": seq},
        ).scalar_one()
    return max(0.0, applied_at - answered) * 1000, (arrived[event] - answered) * 1000


def _median(values: list[float]) -> list[float]:
    return [sorted(values)[len(values) // 2]]


def _wait_until_settled(engine: Engine) -> None:
    query = text("SELECT NOT EXISTS (SELECT FROM outbox) AND NOT EXISTS (SELECT FROM webhook_delivery "
                 "WHERE status <> 'delivered')")  # fmt: skip
    deadline = time.time() + PATIENCE * 3
    while time.time() < deadline:
        with reading(engine) as connection:
            if connection.execute(query).scalar_one():
                return
        time.sleep(0.1)
    raise TimeoutError("the demo's own events were not delivered")


@contextmanager
def _subscriber() -> Iterator[tuple[str, dict[str, float]]]:
    """A subscriber, and when each event came."""
    arrived: dict[str, float] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            now = time.time()
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            arrived[body["data"]["event_id"]] = now
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing: the report is what counts."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", arrived
    server.shutdown()
