"""The apply of one worker, in events a second, against pgbench calling the append function."""

from __future__ import annotations

import time
from collections.abc import Iterator

from sqlalchemy import Engine

from benchmarks.figures import Figure
from benchmarks.pgbench import appends_per_second
from benchmarks.stage import Stage
from service.ledger.drain import SHARDS, drain
from service.webhooks.owe import owe


def measure(stage: Stage, rounds: int, seconds: float) -> Iterator[Figure]:
    """What pgbench has appended, one event a call from sixteen connections, one process then applies."""
    engine = stage.engine()
    applied, appended = [], []
    for _ in range(rounds):
        appended.append(appends_per_second(stage, seconds))
        applied.append(_drain_everything(engine))
    yield Figure("apply drain / pgbench appends", "/s", applied, appended, "≥ 2")


def _drain_everything(engine: Engine) -> float:
    began, events = time.perf_counter(), 0
    for shard in range(SHARDS):
        while applied := drain(engine, shard, owe).applied:
            events += len(applied)
    return events / (time.perf_counter() - began)
