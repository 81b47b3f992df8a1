"""What the workers count, where the web processes can see it.

A worker may run on another machine than the web process that Prometheus asks, so its counters go to one Redis hash.
They are lost with Redis, and a counter that starts again from zero is what Prometheus expects of a counter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import structlog
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from redis import Redis
from redis.exceptions import RedisError

KEY = "tally"
DRAIN_BUCKETS = (1, 10, 100, 500, 1000)

log = structlog.get_logger()


class Tally:
    """Counters in Redis, written by workers and read by `/metrics`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def drained(self, events: int) -> None:
        """One drain applied so many events."""
        buckets = {f"drain_le_{le}": 1 for le in DRAIN_BUCKETS if events <= le}
        self._add({"drain_count": 1, "drain_sum": events, **buckets})

    def attempted(self, outcomes: Mapping[str, int]) -> None:
        """So many webhook attempts ended with each outcome."""
        self._add({f"attempt_{outcome}": count for outcome, count in outcomes.items() if count})

    def collect(self) -> Iterator[Metric]:
        """The counters as Prometheus reads them; nothing while Redis is away."""
        try:
            raw = self._redis.hgetall(KEY)
        except RedisError:
            return
        counts = {str(name, "utf-8") if isinstance(name, bytes) else name: int(value) for name, value in raw.items()}
        yield _drains(counts)
        attempts = CounterMetricFamily("pbx_delivery_attempts", "Webhook attempts by outcome", labels=["outcome"])
        for name, value in sorted(counts.items()):
            if name.startswith("attempt_"):
                attempts.add_metric([name.removeprefix("attempt_")], value)
        yield attempts

    def _add(self, counts: Mapping[str, int]) -> None:
        if not counts:
            return
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                for name, count in counts.items():
                    pipeline.hincrby(KEY, name, count)
                pipeline.execute()
        except RedisError as error:
            log.debug("tally not written", error=type(error).__name__)


def _drains(counts: Mapping[str, int]) -> Metric:
    total = counts.get("drain_count", 0)
    buckets = [(str(float(le)), float(counts.get(f"drain_le_{le}", 0))) for le in DRAIN_BUCKETS]
    family = HistogramMetricFamily("pbx_drain_events", "Events applied by one drain")
    family.add_metric([], [*buckets, ("+Inf", float(total))], float(counts.get("drain_sum", 0)))
    return family
