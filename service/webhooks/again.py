"""Sending again what has ended: one delivery, or all that failed while a subscriber was away.

The message is the same, to the byte and with the same `webhook-id`: a subscriber that had it after all recognises it.
Attempts are numbered on, since each has its own row; but the schedule begins anew, so that a subscriber that fails once
more is not given up for good, and a restart of ours in the middle costs nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, TextClause, text

from service.errors import Conflict
from service.webhooks.endpoints import require_enabled
from service.webhooks.history import IS_MISSED, MISSED, SKEW, delivery_not_found, first_id, limit_time

REPLAYABLE = ("failed", "skipped", "delivered")
BATCH = 1_000  # deliveries that one statement makes due: so many rows are locked for some milliseconds only
MOST = 100_000  # of one call: it ends while somebody still waits for its answer


@dataclass(frozen=True, slots=True)
class Stretch:
    """Deliveries of one endpoint, of certain statuses, made from `since` to before `until`."""

    client_id: uuid.UUID
    endpoint_id: uuid.UUID
    since: datetime
    until: datetime
    statuses: tuple[str, ...] = MISSED


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many are due again; and whether there are more that were left for another call."""

    count: int
    more: bool


def retry(tx: Connection, client_id: uuid.UUID, endpoint_id: uuid.UUID, delivery_id: uuid.UUID) -> None:
    """Make a delivery that has ended due at once. Raises NotFound; Conflict where it has not ended, or the endpoint is
    disabled."""
    require_enabled(tx, client_id, endpoint_id)
    key = {"client": client_id, "endpoint": endpoint_id, "id": delivery_id}
    status = tx.scalar(_LOCK, key)
    if status is None:
        raise delivery_not_found()
    if status not in REPLAYABLE:
        raise Conflict(f"the delivery is {status} already")
    tx.execute(_RETRY, key)


def replay(
    unit: Callable[[], AbstractContextManager[Connection]], stretch: Stretch, *, most: int = MOST, batch: int = BATCH
) -> Replayed:
    """Make the deliveries of a stretch due again, oldest first, after all first attempts; `unit` begins a transaction,
    and each batch has its own. Raises NotFound, Conflict where the endpoint is disabled, and Unavailable where a batch
    is not found in time."""
    count, after, found = 0, first_id(stretch.since, -SKEW), batch
    while found == batch and count < most:
        with unit() as tx:
            limit_time(tx)
            if not count:
                require_enabled(tx, stretch.client_id, stretch.endpoint_id)
            values = {**_values(stretch), "after": after, "batch": min(batch, most - count)}
            replayed = sorted(tx.scalars(_on(stretch, _REPLAY), values))
        found = len(replayed)
        count += found
        after = replayed[-1] if replayed else after
    return Replayed(count, more=count == most and _is_any_left(unit, stretch, after))


def _is_any_left(unit: Callable[[], AbstractContextManager[Connection]], stretch: Stretch, after: uuid.UUID) -> bool:
    with unit() as tx:
        limit_time(tx)
        return bool(tx.scalar(_on(stretch, _LEFT), {**_values(stretch), "after": after}))


def _values(stretch: Stretch) -> dict[str, object]:
    return {
        "client": stretch.client_id,
        "endpoint": stretch.endpoint_id,
        "since": stretch.since,
        "until": stretch.until,
        "statuses": list(stretch.statuses),
        "before": first_id(stretch.until, SKEW),
    }


def _on(stretch: Stretch, statement: str) -> TextClause:
    within = f"{_WITHIN} AND {IS_MISSED}" if set(stretch.statuses) <= set(MISSED) else _WITHIN
    return text(statement.format(within=within))


_LOCK = text("""
    SELECT status FROM webhook_delivery WHERE client_id = :client AND id = :id AND endpoint_id = :endpoint FOR UPDATE
""")
_RETRY = text("""
    UPDATE webhook_delivery
    SET status = 'pending', priority = 0, next_attempt_at = now(), finished_at = NULL, tried_before = attempts
    WHERE client_id = :client AND id = :id AND endpoint_id = :endpoint
""")
_WITHIN = """
    client_id = :client AND endpoint_id = :endpoint AND id > :after AND id < :before
    AND created_at >= :since AND created_at < :until AND status = ANY(CAST(:statuses AS text[]))
"""
_REPLAY = """
    UPDATE webhook_delivery d
    SET status = 'pending', priority = 1, next_attempt_at = now(), finished_at = NULL, tried_before = d.attempts
    FROM (SELECT client_id, id FROM webhook_delivery
          WHERE {within} ORDER BY id LIMIT :batch FOR UPDATE) AS ended
    WHERE d.client_id = ended.client_id AND d.id = ended.id
    RETURNING d.id
"""
_LEFT = "SELECT EXISTS (SELECT FROM webhook_delivery WHERE {within})"
