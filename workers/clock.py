"""The clock: rings for what a lost doorbell left behind, and keeps house.

Every task may run on several clocks at once: a ring too many is coalesced, and housekeeping is idempotent.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType

import structlog

from service.calls.export import forget_expired
from service.calls.export_turn import has_turns
from service.calls.partitions import make_ahead
from service.customers.expiry import expire_customers
from service.doorbell import APPLY, DELIVER, EXPORT, Bell
from service.ledger.drain import shard_of
from service.ledger.holds import expire_holds
from service.ledger.idempotency import forget_old
from service.ledger.lag import shards_left_behind
from service.ledger.proof.checkpoint import CheckpointKeys, keep_checkpoints
from service.webhooks.due import has_due
from service.webhooks.retention import forget_attempts, forget_deliveries
from workers.runtime import Runtime, runtime, stopping

SWEEP_EVERY = 1.0  # seconds: how long a lost doorbell delays a change at most, together with LEFT_BEHIND
LEFT_BEHIND = 1.0  # seconds that an event may wait before its doorbell counts as lost
SEALING = "checkpoint"
CHECKPOINT_LOOK_EVERY = 30.0  # seconds between two looks at whether CHECKPOINT_EVERY is over
HOUSEKEEPING_EVERY = 3600.0

log = structlog.get_logger()


@dataclass(slots=True)
class Task:
    """Something to do again and again, `every` so many seconds; `due` by the monotonic clock."""

    name: str
    every: float
    do: Callable[[Runtime], None]
    due: float = 0.0


def ring_for_events(run: Runtime) -> None:
    """Ring for every shard with an event that has waited too long."""
    for shard in shards_left_behind(run.engine, LEFT_BEHIND):
        run.doorbell.ring(Bell(APPLY, shard))


def ring_for_deliveries(run: Runtime) -> None:
    """Ring if a delivery is due: a retry whose time has come, or one whose sender died."""
    if has_due(run.engine):
        run.doorbell.ring(Bell(DELIVER))


def ring_for_exports(run: Runtime) -> None:
    """Ring if an export waits for a turn: one that nobody was told of, or whose writer died."""
    if has_turns(run.engine):
        run.doorbell.ring(Bell(EXPORT))


def expire(run: Runtime) -> None:
    """Close the holds and expire the customers whose time is over."""
    done = [*expire_holds(run.engine), *expire_customers(run.engine)]
    for shard in {shard_of(one.customer_id) for one in done}:
        run.doorbell.ring(Bell(APPLY, shard))
    if done:
        log.info("expired", events=[one.event_id for one in done])


def forget_keys(run: Runtime) -> None:
    """Delete the Idempotency-Keys that are old enough."""
    if forgotten := forget_old(run.engine, run.config.idempotency_days):
        log.info("idempotency keys forgotten", count=forgotten)


def seal(run: Runtime) -> None:
    """Make a signed checkpoint when its time has come; nothing without a key to sign it with.

    In a thread of its own, since a million new events take some seconds and the sweeps must not wait for it. Cut off in
    the middle, it has sealed nothing.
    """
    if run.config.checkpoint_key is not None and not any(thread.name == SEALING for thread in threading.enumerate()):
        threading.Thread(target=_seal, args=(run,), name=SEALING, daemon=True).start()


def _seal(run: Runtime) -> None:
    keys = CheckpointKeys(run.config.checkpoint_key or "", run.config.checkpoint_key_previous)
    try:
        keep_checkpoints(run.engine, keys, run.config.checkpoint_every)
    except Exception as error:  # the next look makes up for it
        log.warning("task failed", task=SEALING, error=f"{type(error).__name__}: {error}".splitlines()[0])


def make_partitions(run: Runtime) -> None:
    """Make the call records' next months ahead of their first call."""
    if made := make_ahead(run.engine):
        log.info("partitions made", count=made)


def forget_webhooks(run: Runtime) -> None:
    """Delete the deliveries and attempts that are old enough."""
    attempts = forget_attempts(run.engine, run.config.webhook_attempt_days)
    deliveries = forget_deliveries(run.engine, run.config.webhook_delivery_days)
    if attempts or deliveries:
        log.info("webhook history forgotten", attempts=attempts, deliveries=deliveries)


def forget_exports(run: Runtime) -> None:
    """Delete the exports whose days are over."""
    if forgotten := forget_expired(run.engine):
        log.info("exports forgotten", count=forgotten)


def serve() -> None:
    """Do every task when it is due, until asked to stop. A task that fails is tried again at its next turn."""
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, _stop)
    run, tasks = runtime(), all_tasks()
    log.info("ready", tasks=[task.name for task in tasks])
    while not stopping.is_set():
        for task in tasks:
            _do_if_due(task, run)
        stopping.wait(_until_next(tasks))
    log.info("stopped")


def all_tasks() -> list[Task]:
    """Everything that the clock does, each due at once."""
    return [
        Task("sweep events", SWEEP_EVERY, ring_for_events),
        Task("sweep deliveries", SWEEP_EVERY, ring_for_deliveries),
        Task("sweep exports", SWEEP_EVERY, ring_for_exports),
        Task("expiry", SWEEP_EVERY, expire),
        Task("checkpoints", CHECKPOINT_LOOK_EVERY, seal),
        Task("partitions", HOUSEKEEPING_EVERY, make_partitions),
        Task("idempotency keys", HOUSEKEEPING_EVERY, forget_keys),
        Task("webhook history", HOUSEKEEPING_EVERY, forget_webhooks),
        Task("exports", HOUSEKEEPING_EVERY, forget_exports),
    ]


def _do_if_due(task: Task, run: Runtime) -> None:
    if stopping.is_set() or time.monotonic() < task.due:
        return
    task.due = time.monotonic() + task.every
    try:
        task.do(run)
    except Exception as error:  # whatever it was, the other tasks and the next turn must not suffer
        log.warning("task failed", task=task.name, error=f"{type(error).__name__}: {error}".splitlines()[0])
        task.due = time.monotonic() + min(task.every, SWEEP_EVERY)


def _until_next(tasks: Sequence[Task]) -> float:
    return max(0.0, min(task.due for task in tasks) - time.monotonic())


def _stop(_signum: int, _frame: FrameType | None) -> None:
    stopping.set()
