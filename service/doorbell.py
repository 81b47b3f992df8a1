"""Wake-ups through Redis: 'shard 3 has work', 'deliveries are due'. Never data, never needed for correctness.

A bell that is rung again before a worker has answered it stays one job: the flag beside the queue is set by the first
ring and cleared by the job before it looks for work, so whatever came before the look is seen by it. Flags expire, so a
job that died with its worker is rung for again. A ring that is lost altogether costs the seconds until the clock's
next sweep.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import structlog
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from rq import Queue
from rq.serializers import JSONSerializer

from service.config import Config

FLAG_TTL_MS = 2_000  # a lost job is rung for again after this long
MAX_WAITING = 100  # jobs of a queue that nobody answers; more would fill Redis and say nothing new
JOB_TTL = 60  # seconds that an unanswered ring waits in the queue before it is dropped
JOB_TIMEOUT = 120  # seconds: twice the longest that a job means to run
GATHER = 0.05  # seconds for which a busy process gathers bells before it rings again; the first rings at once
RING_TIMEOUT = 0.25  # seconds that a ring may take; a dead Redis must not hold anybody up

APPLY, DELIVER, EXPORT = "apply", "deliver", "export"

log = structlog.get_logger()


_JOBS = {
    APPLY: "workers.jobs.apply_shard",
    DELIVER: "workers.jobs.deliver_due",
    EXPORT: "workers.jobs.export_calls",
}
_QUEUES = {APPLY: APPLY, DELIVER: DELIVER, EXPORT: APPLY}  # whoever applies also writes exports, in between


@dataclass(frozen=True, slots=True)
class Bell:
    """What to ring for, and the shard to name, where there are shards."""

    name: str
    shard: int | None = None

    @property
    def queue(self) -> str:
        """Whose workers hear it."""
        return _QUEUES[self.name]

    @property
    def flag(self) -> str:
        """The Redis key that says 'rung and not answered yet'."""
        return f"doorbell:{self.name}" if self.shard is None else f"doorbell:{self.name}:{self.shard}"


def connect(config: Config, *, timeout: float | None = RING_TIMEOUT) -> Redis:
    """A Redis client that fails at once instead of retrying; `timeout` None waits for ever (a blocking pop)."""
    tls = {} if config.redis_tls_verify or not config.redis_url.startswith("rediss") else {"ssl_cert_reqs": None}
    return Redis.from_url(
        config.redis_url,
        socket_connect_timeout=timeout or 2.0,
        socket_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        **tls,
    )


class Doorbell:
    """Rings and answers bells over one Redis connection pool. Safe to share between threads."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._queues = {
            name: Queue(name, connection=redis, serializer=JSONSerializer, default_timeout=JOB_TIMEOUT)
            for name in dict.fromkeys(_QUEUES.values())
        }

    def ring(self, *bells: Bell) -> bool:
        """Wake a worker for each bell; False if Redis could not be told. Ringing twice is ringing once."""
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                for bell in bells:
                    pipeline.set(bell.flag, 1, nx=True, px=FLAG_TTL_MS)
                    pipeline.llen(self._queues[bell.queue].key)
                answers = pipeline.execute()
            for bell, first, waiting in zip(bells, answers[::2], answers[1::2], strict=True):
                if first and waiting < MAX_WAITING:
                    self._enqueue(bell)
        except RedisError as error:
            log.debug("doorbell not rung", bells=[bell.flag for bell in bells], error=type(error).__name__)
            return False
        return True

    def answer(self, bell: Bell) -> None:
        """Clear the flag; what a job does before it looks for work."""
        try:
            self._redis.delete(bell.flag)
        except RedisError:
            log.debug("doorbell not cleared", bell=bell.flag)

    def depths(self) -> dict[str, int]:
        """Jobs waiting per queue. Raises RedisError."""
        return {name: queue.count for name, queue in self._queues.items()}

    def _enqueue(self, bell: Bell) -> None:
        args = () if bell.shard is None else (bell.shard,)
        self._queues[bell.queue].enqueue_call(
            _JOBS[bell.name], args=args, result_ttl=0, ttl=JOB_TTL, failure_ttl=JOB_TTL, description=bell.flag
        )


class BackgroundDoorbell:
    """Rings from a thread of its own, so that a request never waits for Redis, however slow or dead it is.

    Bells that pile up while one is being rung are rung once. What the process had not rung when it died is the
    clock's to find.
    """

    def __init__(self, doorbell: Doorbell) -> None:
        self._doorbell = doorbell
        self._pending: dict[Bell, None] = {}
        self._rung = threading.Condition()
        self._thread: threading.Thread | None = None

    def ring(self, bell: Bell) -> None:
        """Have a bell rung soon; returns at once."""
        with self._rung:
            if self._thread is None:  # not before the first request: a server forks between import and serving
                self._thread = threading.Thread(target=self._run, name="doorbell", daemon=True)
                self._thread.start()
            self._pending[bell] = None
            self._rung.notify()

    def _run(self) -> None:
        while True:
            with self._rung:
                while not self._pending:
                    self._rung.wait()
                bells, self._pending = self._pending, {}
            try:
                self._doorbell.ring(*bells)
            except Exception:  # the thread must outlive whatever one ring runs into
                log.exception("doorbell broken")
            time.sleep(GATHER)
