"""Is there anything to send? One round trip that reads the head of three short indexes."""

from __future__ import annotations

from sqlalchemy import Engine, text

from service.db.transaction import reading


def has_due(engine: Engine) -> bool:
    """Whether a first attempt or a retry is due, or a lease has run out. Raises Unavailable."""
    with reading(engine) as connection:
        return bool(connection.scalar(_HAS_DUE))


# ORDER BY … LIMIT 1 instead of EXISTS: with statistics from a busy hour the planner would expect a hit within the first
# pages, and read the whole history for it once the queue is empty.
_HAS_DUE = text("""
    SELECT (SELECT true FROM webhook_delivery WHERE status = 'pending' AND priority = 0
            ORDER BY priority, client_id, endpoint_id LIMIT 1) IS NOT NULL
        OR coalesce((SELECT min(next_attempt_at) FROM webhook_delivery WHERE status = 'pending' AND priority > 0)
                    <= now(), false)
        OR coalesce((SELECT min(lease_until) FROM webhook_delivery WHERE status = 'sending') < now(), false)
""")
