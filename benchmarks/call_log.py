"""What a page of the call log and its total cost among ten million calls, by what they cost among ten thousand.

BENCH_SCALE sets the size of the large one: 1 is ten million calls over 24 months.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median

import psycopg
import requests
from psycopg import sql
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from benchmarks.figures import Figure
from benchmarks.stage import Stage, token_for
from service.access.keys import create_client, create_key
from service.config import Config
from service.customers.create import NewCustomer, create_customer
from service.db.engine import make_engine
from service.db.transaction import single_statement, transaction
from service.ledger.command import Caller

FULL = 10_000_000  # calls of the large log
SMALL = 10_000
MONTHS = 24
FIRST = datetime(2024, 1, 1, tzinfo=UTC)
MONTH = "start_date=2025-03-01%2000:00:00&end_date=2025-03-31%2023:59:59"
CUSTOMERS = 10  # that can be asked for by name
PER_SOURCE = 500  # calls of an ordinary source in either log: who has more calls has more customers
BUSY = "busy"  # a source that has one call in a hundred: a call centre
LIMIT, FAR = 10, 99_990  # page 1, and page 10,000
QUERIES = 60  # of each kind in one round, in turn on both logs
SCALE = float(os.environ.get("BENCH_SCALE", "0.1"))


@dataclass(frozen=True)
class _Log:
    """A web process over a database of its own, and a kept connection to it."""

    url: str
    http: requests.Session

    def ask(self, offset: int, narrowed: str) -> float:
        """Milliseconds until a page and its total are there."""
        began = time.perf_counter()
        answer = self.http.get(f"{self.url}&limit={LIMIT}&offset={offset}{narrowed}", timeout=60)
        milliseconds = (time.perf_counter() - began) * 1000
        answer.raise_for_status()
        return milliseconds


KINDS = {
    "a month": "",
    "a source": "&source=020007",
    "a customer": "&customer=u7",
    "a source with 1 % of the calls": f"&source={BUSY}",
}


def measure(stage: Stage, rounds: int, _seconds: float) -> Iterator[Figure]:
    """The p50 of page 1 and page 10,000 of a month, a source and a customer."""
    large, small = _log(stage, "large", round(FULL * SCALE)), _log(stage, "small", SMALL)
    for kind, narrowed in KINDS.items():
        for page, offset in ((1, 0), (10_000, FAR)):
            ours, theirs = zip(*(_pair(large, small, offset, narrowed) for _ in range(rounds)), strict=True)
            name = f"{kind}, page {page:,}: {FULL * SCALE:,.0f} calls / {SMALL:,}"
            yield Figure(name, "ms", list(ours), list(theirs), "≤ 1.5")


def _pair(large: _Log, small: _Log, offset: int, narrowed: str) -> tuple[float, float]:
    times = [(large.ask(offset, narrowed), small.ask(offset, narrowed)) for _ in range(QUERIES)]
    return median(one for one, _ in times), median(other for _, other in times)


def _log(stage: Stage, name: str, calls: int) -> _Log:
    with psycopg.connect(stage.environ["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    address = make_url(stage.environ["DATABASE_URL"]).set(database=name)
    url = address.render_as_string(hide_password=False)
    stage.run("alembic upgrade head", DATABASE_URL=url)
    engine = make_engine(Config(address.set(drivername="postgresql+psycopg"), stage.config.redis_url, "unused"))
    stage.stack.callback(engine.dispose)
    client = create_client(engine, name)
    with transaction(engine) as tx:
        for n in range(1, CUSTOMERS + 1):
            create_customer(tx, Caller(client, "bench"), NewCustomer(f"u{n}", f"a{n}"))
        for month in range(MONTHS):
            tx.execute(text("SELECT call_record_ensure_month(:moment)"), {"moment": FIRST + timedelta(days=31 * month)})
    for month in range(MONTHS):
        _fill(engine, client, month, calls)
    for table in ("call_record", "call_tally"):
        with single_statement(engine) as connection:
            connection.execute(text(f"VACUUM ANALYZE {table}"))
    return _served(stage, url, create_key(engine, client)[1])


def _served(stage: Stage, url: str, key: str) -> _Log:
    port = stage.start_web(DATABASE_URL=url)
    http = requests.Session()
    http.headers["Authorization"] = f"Bearer {token_for(port, key)}"
    return _Log(f"http://127.0.0.1:{port}/v1/call/log?{MONTH}", http)


def _fill(engine: Engine, client: uuid.UUID, month: int, calls: int) -> None:
    span = timedelta(days=730) / MONTHS
    begun = month * calls // MONTHS
    count = (month + 1) * calls // MONTHS - begun
    values = {"client": client, "first": FIRST + month * span, "begun": begun, "count": count, "step": span / count}
    with transaction(engine) as tx:
        tx.execute(_FILL, {**values, "sources": calls // PER_SOURCE, "busy": BUSY})


_FILL = text("""
    INSERT INTO call_record (client_id, start_time, customer_id, uniqueid, source, destination, end_time, duration,
                             amount)
    SELECT :client, moment, nullif((7919 * n) % :sources / 2, 0), n::text,
           CASE WHEN n % 100 = 0 THEN :busy ELSE '02' || lpad(((7919 * n) % :sources)::text, 4, '0') END,
           '8490' || (7907 * n) % 100000, moment + n % 300 * interval '1 s', n % 300, n % 300
    FROM generate_series(CAST(:begun AS bigint) + 1, CAST(:begun AS bigint) + :count) AS n,
         LATERAL (SELECT CAST(:first AS timestamptz) + (n - :begun) * CAST(:step AS interval) AS moment) AS at
""")
