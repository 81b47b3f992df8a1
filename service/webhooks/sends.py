"""The requests under way in one dispatcher: started, watched, cut short if need be, and turned into outcomes."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from service.ledger.event import event_id
from service.webhooks.allot import Address
from service.webhooks.claim import Claim
from service.webhooks.pace import Pace
from service.webhooks.record import Outcome, outcome
from service.webhooks.transport import Transport
from service.webhooks.verdict import CutShort, Verdict

SLOW = 1.0  # seconds; an endpoint that has taken longer is one that a dispatcher about to end should not wait for

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Send:
    address: Address
    since: float


class Sends:
    """The requests under way. Belongs to one event loop; its length is their number."""

    def __init__(self, transport: Transport, pace: Pace) -> None:
        self._transport = transport
        self._pace = pace
        self._under_way: dict[asyncio.Task[None], _Send] = {}
        self._finished: list[Outcome] = []
        self._at_once: Counter[Address] = Counter()
        self._fast: set[Address] = set()

    def __len__(self) -> int:
        return len(self._under_way)

    def start(self, claims: Sequence[Claim]) -> None:
        """Send each of them, beginning now."""
        for claim in claims:
            task = asyncio.create_task(self._send(claim))
            self._under_way[task] = _Send(claim.address, time.monotonic())
            self._at_once[claim.address] += 1
            task.add_done_callback(self._under_way.pop)

    def take_finished(self) -> list[Outcome]:
        """The outcomes since the last time."""
        finished, self._finished = self._finished, []
        return finished

    def allowance(self, address: Address) -> int:
        """How many more requests this endpoint may have under way. Read by a claim, from its thread."""
        return self._pace.window(address) - self._at_once[address]

    def allowance_of_the_fast(self, address: Address) -> int:
        """The same, but only for an endpoint that answered quickly the last time, and is not being slow now."""
        if address not in self._fast or self._has_been_waiting_for(address):
            return 0
        return self.allowance(address)

    def _has_been_waiting_for(self, address: Address) -> bool:
        now = time.monotonic()
        return any(send.address == address and now - send.since > SLOW for send in list(self._under_way.values()))

    async def cut_short(self) -> None:
        """End what is under way; what became of it, nobody knows, and its outcome says so."""
        tasks = list(self._under_way)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self, claim: Claim) -> None:
        began = time.monotonic()
        try:
            verdict = await self._transport.post(claim)
        except asyncio.CancelledError:
            verdict = CutShort()
        self._finish(claim, verdict, time.monotonic() - began)

    def _finish(self, claim: Claim, verdict: Verdict, seconds: float) -> None:
        self._at_once[claim.address] -= 1
        self._pace.ended(claim.address, verdict)
        (self._fast.discard if seconds > SLOW else self._fast.add)(claim.address)
        done = outcome(claim, verdict, round(seconds * 1000))
        self._finished.append(done)
        _log(done)


def _log(done: Outcome) -> None:
    claim = done.claim
    log.info(
        "webhook attempt",
        webhook_id=claim.webhook_id,
        event_id=event_id(claim.customer_id, claim.seq) if claim.customer_id else None,  # a message about no event
        endpoint_id=str(claim.address.endpoint_id),
        delivery_id=str(claim.id),
        attempt=claim.attempt,
        outcome=done.fate.outcome,
        status_code=done.verdict.status_code,
        error=done.verdict.error,
        ms=done.milliseconds,
    )
