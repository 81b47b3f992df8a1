"""Which deliveries are next, and the lease under which one dispatcher sends them.

A claim walks from endpoint to endpoint, not from delivery to delivery: the ten thousand that wait for a dead endpoint
are one step of the walk. It goes on where the last one ended, so every endpoint has its turn however many there are,
and first attempts are taken before retries. An endpoint whose breaker is open is stepped over; one that is half open
gets one delivery, as a probe. Of an endpoint in order, the next deliveries are found by `order`.

Claims of all processes take turns on one advisory lock, for a few milliseconds each; only so can each count what is in
flight for an endpoint and know that the count still holds when it adds to it. The sending itself holds no lock and no
transaction: a lease says whose a delivery is and until when, and a lease that has run out may be claimed by anybody.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, Row, text

from service.db.transaction import transaction
from service.webhooks.allot import Address, Breaker, Limits, Waiting, allot
from service.webhooks.due import Due, look
from service.webhooks.order import Customers, lock_heads
from service.webhooks.schedule import MAX_ATTEMPTS

FIRST, RETRY = PRIORITIES = (0, 1)  # first attempts and what our own processes dropped; retries
WINDOW = 256  # endpoints that one claim looks at per priority, at most: a descent of an index each
ROUNDS = 4  # of quotas in one claim: an endpoint may turn out to be owed less than it may have
STEP = 64  # endpoints that are looked up at once: most claims are full before there are more
_TURN = 0x776562  # 'web': the advisory lock that claims take turns on


_START = Address(uuid.UUID(int=0), uuid.UUID(int=0))


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery that is ours to send until its lease runs out.

    `attempt` counts all attempts at it from 1, `tries` those since it was last begun, be it anew by hand.
    """

    address: Address
    id: uuid.UUID
    customer_id: int
    seq: int
    webhook_id: str
    body: bytes = field(repr=False)
    attempt: int
    tries: int
    priority: int
    token: uuid.UUID
    url: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)  # sealed, the current one first
    headers: str | None = field(default=None, repr=False)  # sealed


@dataclass(frozen=True, slots=True)
class Claimed:
    """What one claim brought: deliveries to send, and how many were found abandoned or had nobody to go to."""

    claims: tuple[Claim, ...] = ()
    abandoned: int = 0
    skipped: int = 0


class Rotation:
    """Where the next walk begins, for each priority. Outlives a dispatcher, or its successors would always look at the
    same endpoints first and never at those behind. Belongs to one process.
    """

    def __init__(self) -> None:
        self._after = dict.fromkeys(PRIORITIES, _START)
        self.customers: dict[int, Customers] = {priority: {} for priority in PRIORITIES}

    def after(self, priority: int) -> Address:
        """The endpoint that had the last turn."""
        return self._after[priority]

    def moved(self, priority: int, last: Address) -> None:
        """The walk ended at `last`."""
        self._after[priority] = last


def claim(engine: Engine, limits: Limits, rotation: Rotation) -> Claimed:
    """Take deliveries that are due, and note an attempt for each before anything is sent. Raises Unavailable."""
    due = look(engine)
    if not due:
        return Claimed()
    with transaction(engine) as tx:
        tx.execute(_TAKE_TURN, {"key": _TURN})
        abandoned = tx.execute(_ABANDON_EXPIRED, {"max_attempts": MAX_ATTEMPTS}).rowcount if due.expired else 0
        picked = _pick(tx, limits, rotation, _priorities(due))
        claims, skipped = _lease(tx, picked, limits.lease) if picked else ((), 0)
    return Claimed(claims, abandoned, skipped)


_Key = tuple[Address, uuid.UUID]


def _priorities(due: Due) -> Iterator[int]:
    """What is worth a walk. What was abandoned is a first attempt once more."""
    if due.first or due.expired:
        yield FIRST
    if due.retries:
        yield RETRY


def _pick(tx: Connection, limits: Limits, rotation: Rotation, priorities: Iterable[int]) -> list[_Key]:
    picked: list[_Key] = []
    for priority in priorities:
        seen: list[Waiting] = []
        walk = _noting(_walk(tx, priority, rotation.after(priority)), seen)
        for _ in range(ROUNDS):
            quotas, last = allot(walk, limits, [address for address, _ in picked])
            if last:
                rotation.moved(priority, last)
            if not quotas:
                break
            picked += _lock_quotas(
                tx, priority, quotas, {w.address for w in seen if w.ordered and not w.gone}, rotation
            )
    return picked


def _lock_quotas(
    tx: Connection, priority: int, quotas: Mapping[Address, int], ordered: Set[Address], rotation: Rotation
) -> Iterator[_Key]:
    if at_will := {address: quota for address, quota in quotas.items() if address not in ordered}:
        yield from _lock(tx, priority, at_will)
    if in_order := {address: quota for address, quota in quotas.items() if address in ordered}:
        yield from lock_heads(tx, priority, in_order, rotation.customers[priority])


def _walk(tx: Connection, priority: int, after: Address) -> Iterator[Waiting]:
    """The endpoints behind `after`, and then those from the start up to it; looked up as far as somebody asks."""
    place, looked, around = after, 0, after == _START
    while looked < WINDOW:
        step = _step(tx, priority, place, min(STEP, WINDOW - looked))
        yield from (waiting for waiting in step if not around or after == _START or waiting.address <= after)
        looked += len(step)
        if len(step) == STEP:
            place = step[-1].address
        elif around:
            return
        else:
            place, around = _START, True


def _noting(walk: Iterable[Waiting], seen: list[Waiting]) -> Iterator[Waiting]:
    for waiting in walk:
        seen.append(waiting)
        yield waiting


def _step(tx: Connection, priority: int, after: Address, window: int) -> list[Waiting]:
    parameters = {
        "priority": priority,
        "client": after.client_id,
        "endpoint": after.endpoint_id,
        "window": window,
    }
    return [
        Waiting(
            Address(row.client_id, row.endpoint_id), row.due, row.sending, Breaker(row.breaker), row.gone, row.ordered
        )
        for row in tx.execute(_WALK, parameters)
    ]


def _lock(tx: Connection, priority: int, quotas: Mapping[Address, int]) -> list[_Key]:
    parameters = {
        "priority": priority,
        "clients": [address.client_id for address in quotas],
        "endpoints": [address.endpoint_id for address in quotas],
        "quotas": list(quotas.values()),
    }
    return [(Address(row.client_id, row.endpoint_id), row.id) for row in tx.execute(_LOCK, parameters)]


def _lease(tx: Connection, picked: list[_Key], lease: float) -> tuple[tuple[Claim, ...], int]:
    token = uuid.uuid4()
    rows = tx.execute(
        _LEASE,
        {
            "clients": [address.client_id for address, _ in picked],
            "endpoints": [address.endpoint_id for address, _ in picked],
            "ids": [delivery for _, delivery in picked],
            "token": token,
            "lease": lease,
        },
    ).all()
    claims = sorted((_claim_of(row, token) for row in rows if row.status == "sending"), key=lambda claim: claim.id)
    return tuple(claims), len(rows) - len(claims)


def _claim_of(row: Row[Any], token: uuid.UUID) -> Claim:
    return Claim(
        address=Address(row.client_id, row.endpoint_id),
        id=row.id,
        customer_id=row.customer_id,
        seq=row.seq,
        webhook_id=row.webhook_id,
        body=row.body,
        attempt=row.attempts,
        tries=row.attempts - row.tried_before,
        priority=row.priority,
        token=token,
        url=row.url,
        secrets=(row.secret, row.previous_secret) if row.previous_secret else (row.secret,),
        headers=row.headers,
    )


# A holder that hangs would hold up everybody: the waiters give up after two seconds, and the server ends a holder that
# has gone quiet inside its transaction. And every statement here is a few descents of an index, whatever the statistics
# say: a queue is longest just when they are oldest, and a planner that sorted it instead would take seconds.
_TAKE_TURN = text("""
    SELECT set_config('lock_timeout', '2s', true), set_config('idle_in_transaction_session_timeout', '5s', true),
           set_config('enable_sort', 'off', true), set_config('enable_seqscan', 'off', true),
           set_config('enable_bitmapscan', 'off', true), set_config('enable_hashjoin', 'off', true),
           set_config('enable_mergejoin', 'off', true), set_config('jit', 'off', true),
           pg_advisory_xact_lock(:key)
""")

# Nobody knows whether the POST went out, and it was no fault of the endpoint's: it is due again at once. Its attempts
# are counted all the same, so that a delivery that kills its sender ends one day.
_ABANDON_EXPIRED = text("""
    WITH expired AS (
        SELECT client_id, id FROM webhook_delivery WHERE status = 'sending' AND lease_until < now()
        LIMIT 200 FOR UPDATE SKIP LOCKED
    ), freed AS (
        UPDATE webhook_delivery d
        SET status = CASE WHEN d.attempts - d.tried_before < :max_attempts THEN 'pending' ELSE 'failed' END,
            next_attempt_at = CASE WHEN d.attempts - d.tried_before < :max_attempts THEN now() END,
            finished_at = CASE WHEN d.attempts - d.tried_before >= :max_attempts THEN now() END,
            priority = 0, lease_until = NULL, lease_token = NULL
        FROM expired WHERE d.client_id = expired.client_id AND d.id = expired.id
        RETURNING d.client_id, d.id, d.attempts
    )
    UPDATE webhook_attempt a SET outcome = 'abandoned', error = 'cut short', finished_at = now()
    FROM freed WHERE a.client_id = freed.client_id AND a.delivery_id = freed.id AND a.number = freed.attempts
""")

# A loose index scan: from each endpoint one descent to the next, landing on its earliest delivery.
_WALK = text("""
    WITH RECURSIVE walk AS (
        (SELECT client_id, endpoint_id, next_attempt_at, 1 AS nth FROM webhook_delivery
         WHERE status = 'pending' AND priority = :priority
           AND (client_id, endpoint_id) > (CAST(:client AS uuid), CAST(:endpoint AS uuid))
         ORDER BY client_id, endpoint_id, next_attempt_at LIMIT 1)
        UNION ALL
        SELECT next.client_id, next.endpoint_id, next.next_attempt_at, walk.nth + 1
        FROM walk CROSS JOIN LATERAL (
            SELECT d.client_id, d.endpoint_id, d.next_attempt_at FROM webhook_delivery d
            WHERE d.status = 'pending' AND d.priority = :priority
              AND (d.client_id, d.endpoint_id) > (walk.client_id, walk.endpoint_id)
            ORDER BY d.client_id, d.endpoint_id, d.next_attempt_at LIMIT 1
        ) AS next
        WHERE walk.nth < :window
    )
    SELECT walk.client_id, walk.endpoint_id, walk.next_attempt_at <= now() AS due,
           (SELECT count(*) FROM webhook_delivery s WHERE s.status = 'sending'
            AND s.client_id = walk.client_id AND s.endpoint_id = walk.endpoint_id) AS sending,
           CASE WHEN e.open_until > now() THEN 'open' WHEN e.open_until IS NOT NULL THEN 'half open' ELSE 'closed' END
           AS breaker,
           coalesce(e.gone, true) AS gone, coalesce(e.ordered, false) AS ordered
    FROM walk LEFT JOIN LATERAL (
        SELECT p.open_until, p.ordered, p.disabled_at IS NOT NULL OR p.deleted_at IS NOT NULL AS gone
        FROM webhook_endpoint p WHERE p.client_id = walk.client_id AND p.id = walk.endpoint_id LIMIT 1
    ) AS e ON true
""")

_LOCK = text("""
    SELECT due.client_id, due.endpoint_id, due.id
    FROM unnest(CAST(:clients AS uuid[]), CAST(:endpoints AS uuid[]), CAST(:quotas AS int[]))
         AS allotted (client_id, endpoint_id, quota)
    CROSS JOIN LATERAL (
        SELECT d.client_id, d.endpoint_id, d.id FROM webhook_delivery d
        WHERE d.status = 'pending' AND d.priority = :priority AND d.next_attempt_at <= now()
          AND d.client_id = allotted.client_id AND d.endpoint_id = allotted.endpoint_id
        ORDER BY d.next_attempt_at, d.id LIMIT allotted.quota
        FOR UPDATE SKIP LOCKED
    ) AS due
""")

_LEASE = text("""
    WITH leased AS (
        UPDATE webhook_delivery d
        SET status = CASE WHEN e.id IS NULL THEN 'skipped' ELSE 'sending' END,
            attempts = d.attempts + CASE WHEN e.id IS NULL THEN 0 ELSE 1 END,
            next_attempt_at = NULL,
            lease_until = CASE WHEN e.id IS NOT NULL THEN clock_timestamp() + make_interval(secs => :lease) END,
            lease_token = CASE WHEN e.id IS NOT NULL THEN CAST(:token AS uuid) END,
            finished_at = CASE WHEN e.id IS NULL THEN now() END
        FROM unnest(CAST(:clients AS uuid[]), CAST(:endpoints AS uuid[]), CAST(:ids AS uuid[]))
             AS picked (client_id, endpoint_id, id)
        LEFT JOIN webhook_endpoint e
               ON e.client_id = picked.client_id AND e.id = picked.endpoint_id AND e.disabled_at IS NULL
              AND e.deleted_at IS NULL
        WHERE d.client_id = picked.client_id AND d.id = picked.id
        RETURNING d.client_id, d.endpoint_id, d.id, d.customer_id, d.seq, d.webhook_id, d.body, d.status, d.attempts,
                  d.tried_before, d.priority, e.url, e.secret, e.headers,
                  CASE WHEN e.previous_secret_until > now() THEN e.previous_secret END AS previous_secret
    ), noted AS (
        INSERT INTO webhook_attempt (client_id, delivery_id, number, started_at)
        SELECT client_id, id, attempts, clock_timestamp() FROM leased WHERE status = 'sending'
    )
    SELECT * FROM leased
""")
