"""An RQ worker that cannot be stopped by Redis, only by being asked to.

RQ's own loop ends, with the process, when Redis breaks at the wrong moment (while a job is being finished, in a
heartbeat), and takes a second SIGTERM as leave to drop its job. Platforms send SIGTERM again and again, and Redis
restarts. So the loop here starts another worker whenever one ended unasked, and any number of signals means one thing:
finish what is under way, then go.
"""

from __future__ import annotations

import signal
from types import FrameType

import structlog
from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError
from rq import SimpleWorker
from rq.exceptions import StopRequested
from rq.serializers import JSONSerializer
from rq.worker import WorkerStatus

from service.doorbell import connect
from workers.runtime import runtime, stopping

RESTART_DELAY = 0.2  # seconds between two looks at a Redis that is away
WORKER_TTL = 60  # seconds between heartbeats of an idle worker

log = structlog.get_logger()


class DoorbellWorker(SimpleWorker):
    """Runs jobs in this very process (a fork each would cost ten times the job) and stops once, gently."""

    max_connection_wait_time = 0.5

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Stop after the job under way; at once when idle. However often it is asked, it means the same."""
        _stop(signum, frame)
        self._stop_requested = True
        if self._state == WorkerStatus.IDLE:
            raise StopRequested

    def _install_signal_handlers(self) -> None:
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self.request_stop)
        self._stop_requested = stopping.is_set()  # a signal may have come before there was anybody to tell

    def set_state(self, state: str, pipeline: Pipeline | None = None) -> None:
        """Take note of the state; fall idle only if nobody has asked to stop on the way there."""
        super().set_state(state, pipeline)
        if state == WorkerStatus.IDLE and pipeline is None and stopping.is_set():
            raise StopRequested

    def run_maintenance_tasks(self) -> None:
        """Nothing: jobs are wake-ups, there are no registries worth cleaning, and the clock rings for what was lost."""


def serve(queue: str) -> None:
    """Answer the doorbells of a queue until asked to stop."""
    _install_handlers()
    connection = connect(runtime().config, timeout=None)
    log.info("ready", queue=queue)
    while not stopping.is_set():
        try:
            _work(queue, connection)
        except (RedisError, StopRequested, OSError) as error:
            log.debug("worker ended", queue=queue, error=type(error).__name__)
        _install_handlers()
        stopping.wait(RESTART_DELAY)
    log.info("stopped", queue=queue)


def _work(queue: str, connection: Redis) -> None:
    worker = DoorbellWorker(
        [queue], connection=connection, serializer=JSONSerializer, worker_ttl=WORKER_TTL, log_job_description=False
    )
    worker.work(logging_level="WARNING")


def _install_handlers() -> None:
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, _stop)


def _stop(_signum: int, _frame: FrameType | None) -> None:
    stopping.set()
