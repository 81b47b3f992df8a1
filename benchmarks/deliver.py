"""How many webhooks one deliver process sends, and what endpoints that never answer, or mean ill, cost the others."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network

from sqlalchemy import Engine, text

from benchmarks.figures import Figure
from benchmarks.healthy_subscriber import Subscriber, healthy_subscriber
from benchmarks.hostile_subscriber import MANNERS
from benchmarks.stage import Stage
from dev.embedded.ports import free_port
from service.access.keys import create_client
from service.db.transaction import reading, transaction
from service.webhooks.endpoints import add_endpoint
from service.webhooks.vault import vault_of

LOOPBACK = [IPv4Network("127.0.0.0/8")]
ENDPOINTS = 20
AIM = 700.0  # deliveries a second
BESIDE_HOSTILE = 1_000  # deliveries to one healthy endpoint
OWED_TO_HOSTILE = 100  # deliveries to each hostile one meanwhile
PATIENCE = 60.0
TIMEOUT = "3"  # seconds: what is left of one round is over before the next


def measure(stage: Stage, rounds: int, seconds: float) -> Iterator[Figure]:
    """Deliveries a second, from the first that arrives to the last, by the aim; with a tenth of them stuck; and to one
    endpoint, beside one of each hostile kind. The bad ones belong to another client."""
    engine, count = stage.engine(), max(500, round(AIM * seconds))
    healthy: list[float] = []
    beside: list[float] = []
    alone: list[float] = []
    hostile: list[float] = []
    with healthy_subscriber() as subscriber:
        living = _Owed(stage, engine, [subscriber.url(f"/{n}") for n in range(ENDPOINTS)])
        dead = _Owed(stage, engine, [subscriber.url("/never")])
        bad = _Owed(stage, engine, _hostile_urls(stage))
        one = living.first()
        stage.environ["WEBHOOK_TIMEOUT"] = TIMEOUT
        stage.start_line("deliver")
        stage.start_line("clock")
        _rate(subscriber, ENDPOINTS, living)  # warms up
        for _ in range(rounds):
            healthy.append(_rate(subscriber, count, living))
            beside.append(_rate(subscriber, count, living, (dead, count // 9)))
            _clear(engine)
            alone.append(_rate(subscriber, BESIDE_HOSTILE, one))
            hostile.append(_rate(subscriber, BESIDE_HOSTILE, one, (bad, OWED_TO_HOSTILE * len(MANNERS))))
            _clear(engine)
    yield Figure("deliveries / the aim of 700", "/s", healthy, [AIM] * rounds, "≥ 1")
    yield Figure("10 % to a dead endpoint: the rest / all healthy", "/s", beside, healthy, "≥ 0.8")
    yield Figure("one endpoint beside hostile ones / alone", "/s", hostile, alone, "≥ 0.77")


def _hostile_urls(stage: Stage) -> list[str]:
    port = free_port()
    stage.start(f"python -m benchmarks.hostile_subscriber {port}")
    return [f"http{'s' * (path == '/no-tls')}://127.0.0.1:{port}{path}" for path in MANNERS]


class _Owed:
    """A client of its own with endpoints to which deliveries can be owed."""

    def __init__(self, stage: Stage, engine: Engine, urls: Sequence[str]) -> None:
        self._engine = engine
        self._client = create_client(engine, f"bench {uuid.uuid4()}")
        vault = vault_of(stage.config)
        self._endpoints = [
            add_endpoint(engine, self._client, url, allow_networks=LOOPBACK, vault=vault)[0] for url in urls
        ]

    def first(self) -> _Owed:
        """The same with its first endpoint alone."""
        one = object.__new__(_Owed)
        one._engine, one._client, one._endpoints = self._engine, self._client, self._endpoints[:1]
        return one

    def owe(self, count: int) -> None:
        """Owe so many deliveries, by turns."""
        values = {"client": self._client, "endpoints": self._endpoints, "count": count}
        with transaction(self._engine) as tx:
            tx.execute(_OWE, values)


def _rate(subscriber: Subscriber, count: int, living: _Owed, bad: tuple[_Owed, int] | None = None) -> float:
    """Owe so many to the living, and some to the bad; the rate at which the living got theirs."""
    subscriber.arrived.clear()
    if bad:
        bad[0].owe(bad[1])
    living.owe(count)
    deadline = time.monotonic() + PATIENCE
    while len(subscriber.arrived) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(subscriber.arrived)} of {count} deliveries arrived")
        time.sleep(0.01)
    return (count - 1) / (subscriber.arrived[count - 1] - subscriber.arrived[0])


def _clear(engine: Engine) -> None:
    """Take back what the dead endpoint is still owed, and let it look alive again."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with transaction(engine) as tx:
            tx.execute(text("DELETE FROM webhook_delivery WHERE status = 'pending'"))
            tx.execute(text("UPDATE webhook_endpoint SET failures = 0, failing_since = NULL, open_until = NULL"))
        with reading(engine) as connection:
            if not connection.scalar(text("SELECT count(*) FROM webhook_delivery WHERE finished_at IS NULL")):
                return
        time.sleep(0.1)


_OWE = text("""
    INSERT INTO webhook_delivery (client_id, id, endpoint_id, customer_id, seq, event_type, webhook_id, body)
    SELECT :client, gen_random_uuid(), (CAST(:endpoints AS uuid[]))[1 + n % cardinality(CAST(:endpoints AS uuid[]))],
           1 + n % 50, nextval('webhook_message_number'), 'customer.credit.changed', 'msg_' || gen_random_uuid(),
           convert_to(repeat('x', 400), 'UTF8')
    FROM generate_series(1, CAST(:count AS int)) AS n
""")
