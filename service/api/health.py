"""Is it alive, is it ready, and how is it doing: `/healthz`, `/readyz`, `/metrics`."""

from __future__ import annotations

import hmac
from collections.abc import Iterator

from flask import Blueprint, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from service.api.answer import answer
from service.api.context import Services, services
from service.db.schema import current_version, expected_version, is_current
from service.errors import Unauthorized, Unavailable
from service.ledger.lag import apply_lag

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    """The process answers."""
    return answer({"status": "ok"})


@blueprint.get("/readyz")
def readyz() -> Response:
    """The process can do its work. A Redis that is away makes it 'degraded': changes are accepted, applied later."""
    engine = services().engine
    version = current_version(engine)
    if not is_current(version):
        raise Unavailable(f"the database is at schema version {version or 'none'}, not {expected_version()}")
    lag = apply_lag(engine)
    redis = _redis_state()
    return answer(
        {
            "status": "ready" if redis == "ok" else "degraded",
            "database": "ok",
            "schema": version,
            "redis": redis,
            "apply_lag_seconds": round(lag.oldest_seconds, 3),
            "events_waiting": lag.waiting,
            "parked_customers": lag.parked_customers,
        }
    )


@blueprint.get("/metrics")
def metrics() -> Response:
    """Measurements for Prometheus; behind METRICS_TOKEN as a bearer token where that is set."""
    expected = services().config.metrics_token
    given = request.headers.get("Authorization", "").encode()
    if expected and not hmac.compare_digest(given, f"Bearer {expected}".encode()):
        raise Unauthorized
    registry = CollectorRegistry()
    registry.register(_Shared(services()))
    own: CollectorRegistry = REGISTRY
    if services().config.metrics_directory:
        own = CollectorRegistry()
        MultiProcessCollector(own, services().config.metrics_directory)  # type: ignore[no-untyped-call]
    return Response(generate_latest(own) + generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class _Shared(Collector):
    """What all processes share, asked for at the moment of the scrape: from Postgres, then from Redis."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        lag = apply_lag(self._services.engine)
        yield GaugeMetricFamily("pbx_apply_lag_seconds", "Age of the oldest event not applied yet", lag.oldest_seconds)
        yield GaugeMetricFamily("pbx_events_waiting", "Events not applied yet", lag.waiting)
        yield GaugeMetricFamily("pbx_parked_customers", "Customers that workers had to leave", lag.parked_customers)
        yield from self._services.tally.collect()
        yield from self._queues()

    def _queues(self) -> Iterator[Metric]:
        family = GaugeMetricFamily("pbx_queue_depth", "Doorbells that no worker has answered", labels=["queue"])
        try:
            for queue, depth in self._services.doorbell.depths().items():
                family.add_metric([queue], depth)
        except RedisError:
            return
        yield family


def _redis_state() -> str:
    try:
        services().doorbell.depths()
    except RedisError:
        return "away"
    return "ok"
