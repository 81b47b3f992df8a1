"""PUT credit with Redis stopped, against the same with Redis running."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.figures import Figure
from benchmarks.load import put
from benchmarks.put_credit import BODY, PATHS
from benchmarks.stage import Stage

CONNECTIONS = 4


def measure(stage: Stage, rounds: int, seconds: float) -> Iterator[Figure]:
    """The p50 of both, in milliseconds; every answer is a 200, or the measurement fails."""
    port = stage.start_web()
    headers = {"Authorization": f"Bearer {stage.token(port)}"}

    def p50() -> float:
        result = put(port, PATHS, BODY, headers, threads=CONNECTIONS, seconds=seconds)
        result.rate_or_fail()
        return result.quantile(0.5)

    away, here = [], []
    for _ in range(rounds):
        here.append(p50())
        stage.valkey.stop()
        away.append(p50())
        stage.valkey.start()
    yield Figure("p50 of PUT credit, Redis stopped / running", "ms", away, here, "≤ 1.5")
