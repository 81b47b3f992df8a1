"""How long a claim takes where a hundred thousand deliveries are due to ten thousand endpoints."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

from sqlalchemy import Engine, text

from benchmarks.figures import Figure
from benchmarks.stage import Stage
from service.access.keys import create_client
from service.db.transaction import single_statement, transaction
from service.webhooks.allot import Limits
from service.webhooks.claim import Rotation, claim
from service.webhooks.record import outcome, record
from service.webhooks.verdict import Delivered

ENDPOINTS = 10_000
DUE = 100_000
CLAIMS = 200  # of one round: its p99 is the third slowest
AIM = 20.0  # milliseconds, at p99
LIMITS = Limits(room=200, per_endpoint=20, allowance=lambda _: 20, lease=20.0)


def measure(stage: Stage, rounds: int, _seconds: float) -> Iterator[Figure]:
    """The p99 of a claim, in milliseconds, by the aim; what is claimed is delivered, and as much owed anew."""
    engine = stage.engine()
    client = create_client(engine, "bench of claims")
    with transaction(engine) as tx:
        tx.execute(_ENDPOINTS, {"client": client, "count": ENDPOINTS})
    slow: list[float] = []
    rotation, missing = Rotation(), DUE
    for _ in range(rounds):
        _owe(engine, client, missing)
        claims = [_claim(engine, rotation) for _ in range(CLAIMS)]
        slow.append(sorted(seconds for seconds, _ in claims)[round(0.99 * CLAIMS)] * 1000)
        missing = sum(count for _, count in claims)
    yield Figure("p99 of a claim, 100,000 due / the aim", "ms", slow, [AIM] * rounds, "≤ 1")


def _claim(engine: Engine, rotation: Rotation) -> tuple[float, int]:
    began = time.perf_counter()
    claims = claim(engine, LIMITS, rotation).claims
    seconds = time.perf_counter() - began
    if not claims:
        raise RuntimeError("a claim brought nothing")
    record(engine, [outcome(one, Delivered(200), 20) for one in claims])
    return seconds, len(claims)


def _owe(engine: Engine, client: uuid.UUID, count: int) -> None:
    with transaction(engine) as tx:
        tx.execute(_OWE, {"client": client, "count": count, "endpoints": ENDPOINTS})
    with single_statement(engine) as connection:
        connection.execute(text("ANALYZE webhook_delivery"))


_ENDPOINTS = text("""
    INSERT INTO webhook_endpoint (client_id, url, secret)
    SELECT :client, 'https://hooks.example.com/' || n, 'v1:sealed' FROM generate_series(1, CAST(:count AS int)) AS n
""")
_OWE = text("""
    INSERT INTO webhook_delivery (client_id, id, endpoint_id, customer_id, seq, event_type, webhook_id, body)
    SELECT :client, gen_random_uuid(), e.id, 1 + n % 50, nextval('webhook_message_number'), 'customer.credit.changed',
           'msg_' || gen_random_uuid(), convert_to(repeat('x', 400), 'UTF8')
    FROM generate_series(1, CAST(:count AS int)) AS n
    JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS nth FROM webhook_endpoint WHERE client_id = :client) AS e
      ON e.nth = n % :endpoints
""")
