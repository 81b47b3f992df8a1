"""The apply of one worker, in events a second, against pgbench calling the append function."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Engine

from benchmarks.figures import Figure
from benchmarks.stage import Stage
from service.access.keys import find_client
from service.ledger.drain import SHARDS, drain
from service.webhooks.owe import owe

CLIENTS = 16
_RATE = re.compile(r"tps = ([\d.]+)")


def measure(stage: Stage, rounds: int, seconds: float) -> Iterator[Figure]:
    """What pgbench has appended, one event a call from sixteen connections, one process then applies."""
    engine = stage.engine()
    script = Path(stage.environ["TMPDIR"]) / "append.sql"
    script.write_text(_script(str(find_client(engine, "demo"))))
    applied, appended = [], []
    for _ in range(rounds):
        appended.append(_pgbench(stage, script, seconds))
        applied.append(_drain_everything(engine))
    yield Figure("apply drain / pgbench appends", "/s", applied, appended, "≥ 2")


def _script(client_id: str) -> str:
    return (
        "\\set customer random(1, 50)\n"
        f"SELECT * FROM ledger_append(ARRAY['{client_id}'::uuid], ARRAY['id:' || :customer], "
        "ARRAY[gen_random_uuid()], ARRAY['credit.set'], ARRAY[random(0, 9)::numeric], ARRAY[NULL::smallint], "
        "ARRAY[NULL::text], ARRAY[NULL::text], ARRAY['pgbench'], ARRAY[NULL::text])\n"
    )


def _pgbench(stage: Stage, script: Path, seconds: float) -> float:
    command = [stage.postgres.bin / "pgbench", "-n", "-M", "prepared", "-c", CLIENTS, "-j", 2, "-f", script]
    done = subprocess.run(
        [str(word) for word in [*command, "-T", max(1, round(seconds)), stage.environ["DATABASE_URL"]]],
        check=True,
        capture_output=True,
        text=True,
    )
    match = _RATE.search(done.stdout)
    assert match is not None, done.stdout
    return float(match[1])


def _drain_everything(engine: Engine) -> float:
    began, events = time.perf_counter(), 0
    for shard in range(SHARDS):
        while applied := drain(engine, shard, owe).applied:
            events += len(applied)
    return events / (time.perf_counter() - began)
