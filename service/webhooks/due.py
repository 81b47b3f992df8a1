"""Is there anything to send? One round trip that reads the head of three short indexes."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine, text

from service.db.transaction import reading


@dataclass(frozen=True, slots=True)
class Due:
    """What there is to do: first attempts, retries whose time has come, leases that have run out."""

    first: bool
    retries: bool
    expired: bool

    def __bool__(self) -> bool:
        return self.first or self.retries or self.expired


def look(engine: Engine) -> Due:
    """What is due now. Raises Unavailable."""
    with reading(engine) as connection:
        return Due(*connection.execute(_LOOK).one())


def has_due(engine: Engine) -> bool:
    """Whether anything is. Raises Unavailable."""
    return bool(look(engine))


# ORDER BY … LIMIT 1 instead of EXISTS: with statistics from a busy hour the planner would expect a hit within the first
# pages, and read the whole history for it once the queue is empty.
_LOOK = text("""
    SELECT (SELECT true FROM webhook_delivery WHERE status = 'pending' AND priority = 0
            ORDER BY priority, client_id, endpoint_id LIMIT 1) IS NOT NULL,
           coalesce((SELECT min(next_attempt_at) FROM webhook_delivery WHERE status = 'pending' AND priority > 0)
                    <= now(), false),
           coalesce((SELECT min(lease_until) FROM webhook_delivery WHERE status = 'sending') < now(), false)
""")
