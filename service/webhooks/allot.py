"""How many deliveries each endpoint may have sent now: the fairness of the queue, without the queue. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

AT_ONCE = 32  # deliveries of one claim: others wait for its few milliseconds, and the next claim follows at once


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """An endpoint's key; the order is that of the index."""

    client_id: uuid.UUID
    endpoint_id: uuid.UUID


@dataclass(frozen=True, slots=True)
class Limits:
    """What a claim may take: no more than there is `room` for, nor than `at_once`; and for an endpoint no more than its
    `allowance`, nor than keeps what all processes together have in flight for it within `per_endpoint`. `lease` is in
    seconds.
    """

    room: int
    per_endpoint: int
    allowance: Callable[[Address], int]
    lease: float
    at_once: int = AT_ONCE


class Breaker(StrEnum):
    """What an endpoint's breaker lets through: everything, one probe, or nothing."""

    CLOSED = "closed"
    HALF_OPEN = "half open"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Waiting:
    """An endpoint with deliveries pending, and how many of its deliveries are on their way.

    `gone`: it is disabled or deleted, so that what is pending will be skipped, which takes nobody's time.
    """

    address: Address
    due: bool
    sending: int
    breaker: Breaker = Breaker.CLOSED
    gone: bool = False
    ordered: bool = False


def allot(
    walk: Iterable[Waiting], limits: Limits, taken: Sequence[Address] = ()
) -> tuple[dict[Address, int], Address | None]:
    """Quotas for the endpoints of a walk, in its order, and the last endpoint that was considered.

    No endpoint takes more than it leaves free, so that however many are slow, something is left for the rest. `taken`
    names the endpoint of each delivery that this claim has picked before.
    """
    quotas: dict[Address, int] = {}
    room, left, last = limits.room - len(taken), limits.at_once - len(taken), None
    for waiting in walk:
        if min(room, left) <= 0:
            break
        last = waiting.address
        quota = min(_most(waiting, room, limits, taken.count(last)), max(1, left // 2)) if waiting.due else 0
        if quota > 0:
            quotas[last] = quota
            room -= quota
            left -= quota
    return quotas, last


def _most(waiting: Waiting, room: int, limits: Limits, taken: int) -> int:
    if waiting.gone:
        return max(1, room // 2)
    if waiting.breaker is Breaker.OPEN:
        return 0
    if waiting.breaker is Breaker.HALF_OPEN:
        return min(1, limits.allowance(waiting.address)) - waiting.sending - taken
    below_cap = limits.per_endpoint - waiting.sending
    fair = max((room - waiting.sending) // 2, 0 if waiting.sending else 1)
    return min(below_cap, fair, limits.allowance(waiting.address)) - taken
