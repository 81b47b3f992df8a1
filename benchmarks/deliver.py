"""How many webhooks one deliver process sends, and what an endpoint that never answers costs the others."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Network

from sqlalchemy import Engine, text

from benchmarks.figures import Figure
from benchmarks.stage import Stage
from service.access.keys import find_client
from service.db.transaction import reading, transaction
from service.webhooks.endpoints import add_endpoint
from service.webhooks.vault import vault_of

LOOPBACK = [IPv4Network("127.0.0.0/8")]
ENDPOINTS = 20
ANSWERS_AFTER = 0.02  # seconds
AIM = 700.0  # deliveries a second
PATIENCE = 60.0
TIMEOUT = "3"  # seconds: what is left of one round is over before the next

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def measure(stage: Stage, rounds: int, seconds: float) -> Iterator[Figure]:
    """Deliveries a second, from the first that arrives to the last, by the aim; then with a tenth of them stuck."""
    engine, count, vault = stage.engine(), max(500, round(AIM * seconds)), vault_of(stage.config)
    client = find_client(engine, "demo")
    healthy: list[float] = []
    beside: list[float] = []
    with _subscriber() as subscriber:
        living = [
            add_endpoint(engine, client, subscriber.url(f"/{n}"), allow_networks=LOOPBACK, vault=vault)[0]
            for n in range(ENDPOINTS)
        ]
        dead, _ = add_endpoint(engine, client, subscriber.url("/never"), allow_networks=LOOPBACK, vault=vault)
        stage.environ["WEBHOOK_TIMEOUT"] = TIMEOUT
        stage.start_line("deliver")
        stage.start_line("clock")
        _deliver(engine, client, subscriber, living, [], ENDPOINTS)  # warms up
        for _ in range(rounds):
            healthy.append(_deliver(engine, client, subscriber, living, [], count))
            beside.append(_deliver(engine, client, subscriber, living, [dead], count))
            _clear(engine)
    yield Figure("deliveries / the aim of 700", "/s", healthy, [AIM] * rounds, "≥ 1")
    yield Figure("10 % to a dead endpoint: the rest / all healthy", "/s", beside, healthy, "≥ 0.8")


@dataclass
class _Subscriber:
    port: int
    arrived: list[float] = field(default_factory=list)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@contextmanager
def _subscriber() -> Iterator[_Subscriber]:
    """Answers after 20 ms, and never at `/never`. In a thread: what is measured is another process."""
    loop, ready = asyncio.new_event_loop(), threading.Event()
    subscriber = _Subscriber(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n")[0]))
                if head.startswith(b"post /never"):
                    await reader.read()
                    break
                subscriber.arrived.append(time.perf_counter())
                await asyncio.sleep(ANSWERS_AFTER)
                writer.write(_ANSWER)
        writer.close()

    def run() -> None:
        asyncio.set_event_loop(loop)
        server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0, backlog=1000))
        subscriber.port = server.sockets[0].getsockname()[1]
        ready.set()
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait()
    yield subscriber
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def _deliver(
    engine: Engine,
    client: uuid.UUID,
    subscriber: _Subscriber,
    living: Sequence[uuid.UUID],
    dead: Sequence[uuid.UUID],
    count: int,
) -> float:
    """Owe so many to the living, and a ninth of that to the dead; the rate at which the living got theirs."""
    subscriber.arrived.clear()
    with transaction(engine) as tx:
        for endpoints, number in ((living, count), (dead, count // 9)):
            if endpoints:
                tx.execute(_OWE, {"client": client, "endpoints": list(endpoints), "count": number})
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
