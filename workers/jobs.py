"""The jobs that doorbells ask for. They carry no data: what there is to do stands in Postgres."""

from __future__ import annotations

import time

import structlog

from service.calls.export import Status
from service.calls.export_turn import take_turn
from service.doorbell import APPLY, DELIVER, EXPORT, Bell
from service.errors import Unavailable
from service.ledger.drain import Drained, drain
from service.webhooks.dispatch import dispatch
from service.webhooks.owe import owe
from workers.runtime import Runtime, runtime, stopping

TURN = 0.25  # seconds that a shard is drained for before the next in the queue has its turn
SHARD_WAIT = 0.01  # seconds until a shard that another worker holds is tried again
SHARD_PATIENCE = 10  # tries; by then the other has found, or left to the next ring, what this ring was for
DELIVER_SECONDS = 60.0  # how long one job dispatches before it makes room for the next ring

log = structlog.get_logger()


def apply_shard(shard: int) -> None:
    """Apply what a shard has waiting, batch by batch, and ring for the deliveries that it entails."""
    run = runtime()
    run.doorbell.answer(Bell(APPLY, shard))
    patience, until = SHARD_PATIENCE, time.monotonic() + TURN
    while not stopping.is_set() and patience:
        if time.monotonic() > until:  # a busy shard goes to the end of the queue: the others have their turn
            run.doorbell.ring(Bell(APPLY, shard))
            return
        try:
            drained = drain(run.engine, shard, owe)
        except Unavailable as error:
            log.warning("shard left to the clock", shard=shard, error=str(error.__cause__ or error).splitlines()[0])
            return
        if drained.busy:
            patience -= 1
            time.sleep(SHARD_WAIT)
        elif drained.applied:
            _follow_up(run, shard, drained)
        else:
            return


def deliver_due() -> None:
    """Send what is due, until nothing is or a minute has passed."""
    run = runtime()
    run.doorbell.answer(Bell(DELIVER))
    until = time.monotonic() + DELIVER_SECONDS
    dispatch(
        run.engine,
        run.config,
        stop=stopping.is_set,
        tell=run.tally.attempted,
        seconds=DELIVER_SECONDS,
        rotation=run.rotation,
    )
    if time.monotonic() >= until and not stopping.is_set():  # it ended for its time, not for want of work
        run.doorbell.ring(Bell(DELIVER))


def export_calls() -> None:
    """Write one chunk of the export that is next, and ring again: shards that have work have their turn in between."""
    run = runtime()
    run.doorbell.answer(Bell(EXPORT))
    try:
        turn = take_turn(run.engine, run.config.export_days)
    except Unavailable as error:
        log.warning("exports left to the clock", error=str(error.__cause__ or error).splitlines()[0])
        return
    if turn is None:
        return
    run.doorbell.ring(Bell(EXPORT))
    if turn.status in {Status.DONE, Status.FAILED}:
        log.info("export ended", export=str(turn.export_id), client=str(turn.client_id), status=turn.status.value)


def _follow_up(run: Runtime, shard: int, drained: Drained) -> None:
    if drained.owed:
        run.doorbell.ring(Bell(DELIVER))
    run.tally.drained(len(drained.applied))
    log.info("applied", shard=shard, events=[applied.event.id for applied in drained.applied], owed=drained.owed)
