"""How many calls a second are stored and charged, by how many the same rows make in a bare table by COPY."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
from sqlalchemy import Engine

from benchmarks.figures import Figure
from benchmarks.stage import Stage
from service import clock
from service.access.keys import create_client
from service.calls.call import NewCall, new_call
from service.calls.ingest import ingest
from service.customers.create import NewCustomer, create_customer
from service.db.transaction import transaction
from service.ledger.command import Caller

BATCH = 500
CUSTOMERS = 1_000
START = datetime(2026, 1, 5, tzinfo=UTC)


def measure(stage: Stage, rounds: int, seconds: float) -> Iterator[Figure]:
    """Calls a second in batches of 500, each a transaction; against COPY of the same rows, in the same batches."""
    engine = stage.engine()
    client = create_client(engine, "switchboard")
    with transaction(engine) as tx:
        for n in range(CUSTOMERS):
            create_customer(tx, Caller(client, "bench"), NewCustomer(f"bench{n}", f"bench{n}", caller_ids=[f"02{n}"]))
    batches = max(4, round(seconds * 10))
    with psycopg.connect(stage.environ["DATABASE_URL"]) as bare:
        bare.execute("CREATE TABLE bare (LIKE call_record)")
        bare.commit()
        ours, theirs = [], []
        for number in range(rounds):
            calls = [_batch(number * batches + n) for n in range(batches)]
            ours.append(_brought(engine, client, calls))
            theirs.append(_copied(bare, client, calls))
    yield Figure("calls stored and charged / COPY of the same rows", "/s", ours, theirs, "the limit is 1")


def _batch(number: int) -> list[NewCall]:
    return [
        new_call(
            uniqueid=f"{number}.{n}",
            source=f"02{(number * BATCH + 7919 * n) % CUSTOMERS}",
            destination="84901234567",
            start_time=START + timedelta(seconds=number * 60 + n / 10),
            duration=n % 300,
            amount=Decimal(n % 300) / 4,
            disposition="ANSWERED",
            now=clock.now(),
        )
        for n in range(BATCH)
    ]


def _brought(engine: Engine, client: uuid.UUID, batches: Sequence[Sequence[NewCall]]) -> float:
    caller = Caller(client, "bench")
    began = time.perf_counter()
    for batch in batches:
        with transaction(engine) as tx:
            ingest(tx, caller, batch)
    return BATCH * len(batches) / (time.perf_counter() - began)


def _copied(bare: psycopg.Connection, client: uuid.UUID, batches: Sequence[Sequence[NewCall]]) -> float:
    began = time.perf_counter()
    for batch in batches:
        with bare.cursor() as cursor, cursor.copy(_COPY) as copy:
            for n, call in enumerate(batch):
                copy.write_row(
                    (
                        client, call.start_time, n, 1, call.uniqueid, call.leg, call.source, call.destination,
                        call.end_time, call.duration, call.amount, call.disposition, 1,
                    )
                )  # fmt: skip
        bare.commit()
    return BATCH * len(batches) / (time.perf_counter() - began)


_COPY = """
    COPY bare (client_id, start_time, id, customer_id, uniqueid, leg, source, destination, end_time, duration, amount,
               disposition, event_seq) FROM STDIN
"""
