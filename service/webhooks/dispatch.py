"""The dispatcher: one asyncio loop that keeps hundreds of deliveries on their way at once.

A job per attempt would spend its time waiting: 69 a second with four workers, where one loop sends hundreds. The loop
takes turns: write down what has finished, claim what there is room for, send. Requests run between and across the turns
with no transaction open; the database is spoken to from a thread, in batches, so a slow statement stalls no request.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, TypeVar

import structlog
from sqlalchemy import Engine

from service.config import Config
from service.errors import Unavailable
from service.webhooks.allot import Address, Limits
from service.webhooks.claim import Claimed, Rotation, claim
from service.webhooks.pace import Pace
from service.webhooks.record import Outcome, record, release
from service.webhooks.sends import Sends
from service.webhooks.transport import Transport
from service.webhooks.vault import vault_of

TURN = 0.01  # seconds between turns: how long a finished send waits to be written down, at most
POLL = 0.05  # seconds between looks at the database while no send has finished, and so no room has come free
LINGER = 0.3  # seconds without work before the loop ends: a burst has pauses
DRAIN = 10.0  # seconds that sends may take to finish once we are told to stop; a platform kills after 30
LEASE_SLACK = 5.0  # seconds that a lease outlasts the longest request: time to write down how it ended
DATABASE_AWAY = 0.5  # seconds to leave a database alone that could not be reached
TELL_EVERY = 2.0  # seconds between two reports of what has been attempted: as fresh as a metric needs to be
PATIENCE = 5.0  # seconds that a loop about to end tries to write down its last outcomes; then the leases run out

P = ParamSpec("P")
R = TypeVar("R")
Allowance = Callable[[Address], int]
Tell = Callable[[Mapping[str, int]], None]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Summary:
    """Attempts by outcome. `abandoned`: sends cut short, our own or a dead process's; `skipped`: nobody to send to."""

    delivered: int = 0
    retry: int = 0
    failed: int = 0
    abandoned: int = 0
    skipped: int = 0


def dispatch(
    engine: Engine,
    settings: Config,
    *,
    stop: Callable[[], bool],
    tell: Tell | None = None,
    seconds: float = 60,
    rotation: Rotation | None = None,
) -> Summary:
    """Send what is due. Returns when nothing is, or after about `seconds`, or soon after `stop()` has become true.

    `stop` is asked many times a second from within the loop, so it must answer at once. `tell` is given the attempts by
    outcome since the last time, every TELL_EVERY seconds and at the end, from a thread. `rotation` is where the
    process's dispatcher before this one ended. Takes one connection of the engine's pool at a time.
    """
    return asyncio.run(_dispatch(engine, settings, stop, tell or (lambda _: None), seconds, rotation or Rotation()))


async def _dispatch(
    engine: Engine,
    settings: Config,
    stop: Callable[[], bool],
    tell: Tell,
    seconds: float,
    rotation: Rotation,
) -> Summary:
    async with Transport(settings.webhook_allow_networks, settings.webhook_timeout, vault_of(settings)) as transport:
        sends = Sends(transport, Pace(settings.webhook_endpoint_in_flight))
        loop = _Loop(engine, settings, sends, stop, tell, rotation)
        try:
            await loop.work(time.monotonic() + seconds)
        finally:
            await loop.finish()
    return loop.summary()


class _Loop:
    def __init__(
        self,
        engine: Engine,
        settings: Config,
        sends: Sends,
        stop: Callable[[], bool],
        tell: Tell,
        rotation: Rotation,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._sends = sends
        self._stop = stop
        self._tell = tell
        self._database = ThreadPoolExecutor(1, thread_name_prefix="deliveries")
        self._rotation = rotation
        self._unrecorded: list[Outcome] = []
        self._full = False  # the last claim brought most of what it may at once, so the next goes on without a pause
        self._tally: Counter[str] = Counter()
        self._told: Counter[str] = Counter()
        self._telling: asyncio.Future[None] | None = None
        self._next_telling = time.monotonic() + TELL_EVERY
        self._next_look = self._next_record = self._busy_at = time.monotonic()

    async def work(self, end: float) -> None:
        """Turns, until there is nothing left to do or the time is up.

        After `end`, slow endpoints are left out, and at the first pause, or when the slow ones have had their time, it
        is over: so whoever comes next can take over at once instead of after the slowest request.
        """
        last_call = end + self._settings.webhook_timeout
        while not self._stop() and self._busy(now := time.monotonic(), end) and now < last_call:
            await self._record()
            if now >= self._next_look:
                await self._claim(self._sends.allowance if now < end else self._sends.allowance_of_the_fast)
            self._tell_now_and_then()
            await asyncio.sleep(0.0 if self._full else TURN)

    async def finish(self) -> None:
        """Let sends end, cut short those that don't, and write everything down."""
        deadline = time.monotonic() + self._settings.webhook_timeout + LEASE_SLACK / 2
        while self._sends and time.monotonic() < deadline:
            if self._stop():
                deadline = min(deadline, time.monotonic() + DRAIN)
            await self._record()
            self._tell_now_and_then()
            await asyncio.sleep(TURN)
        await self._sends.cut_short()
        await self._record_the_last()
        await self._tell_the_rest()
        self._database.shutdown(wait=False)

    def summary(self) -> Summary:
        return Summary(**self._tally)

    def _busy(self, now: float, end: float) -> bool:
        if self._sends or self._unrecorded:
            self._busy_at = now
            return True
        return now < end and now - self._busy_at < LINGER

    async def _claim(self, allowance: Allowance) -> None:
        limits = self._limits(allowance)
        start_by = time.monotonic() + LEASE_SLACK / 2
        try:
            claimed = (
                await self._in_thread(claim, self._engine, limits, self._rotation) if limits.room > 0 else Claimed()
            )
        except Unavailable:
            self._next_look, self._full = time.monotonic() + DATABASE_AWAY, False
            return
        self._tally.update(abandoned=claimed.abandoned, skipped=claimed.skipped)
        self._next_look = time.monotonic() + POLL
        if (
            claimed.claims or claimed.skipped
        ):  # there may be more: quotas go by what an endpoint may have, not by what it is owed
            self._next_look = self._busy_at = time.monotonic()
        self._full = len(claimed.claims) > limits.at_once // 2
        if self._stop() or time.monotonic() > start_by:
            await self._release(claimed)
        else:
            self._sends.start(claimed.claims)

    def _limits(self, allowance: Allowance) -> Limits:
        settings = self._settings
        return Limits(
            room=max(0, settings.webhook_in_flight - len(self._sends)),
            per_endpoint=settings.webhook_endpoint_in_flight,
            allowance=allowance,
            lease=settings.webhook_timeout + LEASE_SLACK,
        )

    async def _release(self, claimed: Claimed) -> None:
        """Give back what came too late to be sent; where that fails, the leases run out by themselves."""
        if claimed.claims:
            with suppress(Unavailable):
                await self._in_thread(release, self._engine, claimed.claims)

    async def _record(self) -> None:
        self._unrecorded += self._sends.take_finished()
        if not self._unrecorded or time.monotonic() < self._next_record:
            return
        try:
            counted = await self._in_thread(
                record, self._engine, self._unrecorded, self._settings.webhook_disable_after
            )
        except Unavailable:
            self._next_record = time.monotonic() + DATABASE_AWAY
            return
        if counted < len(self._unrecorded):
            log.warning("webhook outcomes came after their lease", late=len(self._unrecorded) - counted)
        self._tally.update(done.fate.outcome for done in self._unrecorded)
        self._unrecorded = []
        self._next_look = self._busy_at = time.monotonic()  # there is room now where there may have been none

    async def _record_the_last(self) -> None:
        deadline = time.monotonic() + PATIENCE
        await self._record()
        while self._unrecorded and time.monotonic() < deadline:
            await asyncio.sleep(TURN)
            await self._record()

    def _tell_now_and_then(self) -> None:
        """In a thread of its own: whoever is told may be slow, and no delivery should wait for it."""
        if time.monotonic() < self._next_telling or (self._telling and not self._telling.done()):
            return
        self._next_telling = time.monotonic() + TELL_EVERY
        if news := self._tally - self._told:
            self._told = self._tally.copy()
            self._telling = asyncio.get_running_loop().run_in_executor(None, self._tell, news)

    async def _tell_the_rest(self) -> None:
        if self._telling:
            await self._telling
        self._next_telling = 0.0
        self._tell_now_and_then()
        if self._telling:
            await self._telling

    async def _in_thread(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._database, partial(function, *args, **kwargs))
