"""The whole proof of a ledger, in events a second, against a bare COPY of the same columns that nobody reads."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator

from sqlalchemy import Engine, text

from benchmarks.figures import Figure
from benchmarks.stage import Stage
from service.access.keys import find_client
from service.db.driver import driver_connection
from service.db.transaction import single_statement, transaction
from service.ledger.proof.chain import COLUMNS
from service.ledger.proof.verify import verify

EVENTS = int(os.environ.get("BENCH_EVENTS", "1000000"))
CUSTOMERS = 1000
AIM = 50_000.0  # events a second of one process


def measure(stage: Stage, rounds: int, _seconds: float) -> Iterator[Figure]:
    """A ledger of a million events (or BENCH_EVENTS), proved as often as there are rounds."""
    engine = stage.engine()
    fill(engine, find_client(engine, "demo"), EVENTS)
    proved, copied = [], []
    for _ in range(rounds):
        copied.append(_copy(engine))
        proved.append(_prove(engine))
    yield Figure(f"verify / bare COPY, {EVENTS:,} events", "/s", proved, copied, "≥ 0.15")
    yield Figure(f"verify / {AIM:,.0f} events a second", "/s", proved, [AIM] * rounds, "≥ 1")


def fill(engine: Engine, client: uuid.UUID, events: int) -> None:
    """Give a client 1,000 more customers with about so many events, written by the append function itself."""
    with transaction(engine) as tx:
        first = tx.scalar(_CUSTOMERS, {"client": client, "count": CUSTOMERS})
        tx.execute(_STREAMS, {"first": first})
    for turn in range(max(1, events // CUSTOMERS)):
        with transaction(engine) as tx:
            tx.execute(_APPEND, {"client": client, "first": first, "turn": turn})
    with single_statement(engine) as connection:
        connection.execute(text("VACUUM ANALYZE"))


def _prove(engine: Engine) -> float:
    began = time.perf_counter()
    return verify(engine).events / (time.perf_counter() - began)


def _copy(engine: Engine) -> float:
    """All events as verify reads them, and nothing done with them."""
    began, events = time.perf_counter(), 0
    with driver_connection(engine) as connection, connection.cursor() as cursor:
        statement = f"COPY (SELECT {_COLUMNS} FROM ledger_event ORDER BY customer_id, seq) TO STDOUT"  # noqa: S608
        with cursor.copy(statement.encode()) as copy:
            for _ in copy:
                events += 1
    return events / (time.perf_counter() - began)


_COLUMNS = ", ".join([*COLUMNS, "encode(hash, 'hex')", "position"])
_CUSTOMERS = text("""
    WITH made AS (
        INSERT INTO customer (client_id, username, useralias)
        SELECT :client, 'bench' || n, 'bench alias ' || n FROM generate_series(1, :count) AS n
        RETURNING id)
    SELECT min(id) FROM made
""")
_STREAMS = text("""
    INSERT INTO stream (customer_id, client_id, status) SELECT id, client_id, 1 FROM customer WHERE id >= :first
""")
# Ten kinds of turns, as a busy platform has them: mostly charges, now and then a payment, a hold, a change of status.
_APPEND = text("""
    WITH turn AS (
        SELECT c.id, CASE
            WHEN :turn = 0 THEN 'customer.created'
            WHEN :turn % 10 = 1 THEN 'credit.set'
            WHEN :turn % 10 = 3 THEN 'status.set'
            WHEN :turn % 10 = 5 THEN 'hold.created'
            WHEN :turn % 10 = 6 THEN 'hold.captured'
            ELSE 'credit.added' END AS kind
        FROM customer c WHERE c.id >= :first AND c.client_id = :client
    ), batch AS (
        SELECT array_agg(CAST(:client AS uuid)) AS clients, array_agg('id:' || id) AS refs,
               array_agg(gen_random_uuid()) AS ids, array_agg(kind) AS kinds,
               array_agg(CASE kind WHEN 'credit.added' THEN -0.12345 WHEN 'status.set' THEN NULL
                                   WHEN 'hold.created' THEN 2 WHEN 'hold.captured' THEN 1.5
                                   ELSE 100 END) AS amounts,
               array_agg(CASE WHEN kind IN ('customer.created', 'status.set') THEN 1::smallint END) AS statuses,
               array_agg(CASE WHEN kind = 'credit.set' THEN 'payment at the desk' END) AS reasons,
               array_agg(NULL::text) AS nothing, array_agg('key:' || id % 7) AS actors,
               array_agg(gen_random_uuid()::text) AS requests, array_agg(NULL::bigint) AS expected,
               array_agg(CASE WHEN kind = 'hold.captured' THEN (
                   SELECT max(h.seq) FROM hold h WHERE h.customer_id = turn.id AND h.status = 'open') END) AS refers,
               array_agg(CASE WHEN kind = 'hold.created' THEN '{"expires_at": "2099-01-01T00:00:00Z"}' END) AS details
        FROM turn
    )
    SELECT count(*) FROM batch, ledger_append(
        clients, refs, ids, kinds, amounts, statuses, reasons, nothing, actors, requests, expected, refers, details,
        nothing, true, false)
""")
