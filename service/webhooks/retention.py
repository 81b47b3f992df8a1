"""What is known of old deliveries is forgotten: first the attempts, later the deliveries with their bodies.

In batches, each a statement of its own that finds the oldest by an index: so many rows are locked for some milliseconds
only. What is still to be sent stays, however old it is.
"""

from __future__ import annotations

from sqlalchemy import Engine, TextClause, text

from service.db.transaction import single_statement

FORGOTTEN_AT_ONCE = 2_000  # rows that one statement deletes


def forget_attempts(engine: Engine, days: int) -> int:
    """Delete the attempts that began longer ago than that, of deliveries that are over; how many."""
    return _forget(engine, _FORGET_ATTEMPTS, days)


def forget_deliveries(engine: Engine, days: int) -> int:
    """Delete the deliveries that were over longer ago than that, with their attempts; how many deliveries."""
    return _forget(engine, _FORGET_DELIVERIES, days)


def _forget(engine: Engine, statement: TextClause, days: int) -> int:
    forgotten, found = 0, FORGOTTEN_AT_ONCE
    while found == FORGOTTEN_AT_ONCE:
        with single_statement(engine) as connection:
            found = connection.execute(statement, {"days": days, "limit": FORGOTTEN_AT_ONCE}).rowcount
        forgotten += found
    return forgotten


_FORGET_ATTEMPTS = text("""
    DELETE FROM webhook_attempt WHERE (client_id, delivery_id, number) IN (
        SELECT a.client_id, a.delivery_id, a.number FROM webhook_attempt a
        WHERE a.started_at < now() - make_interval(days => :days)
          AND NOT EXISTS (SELECT FROM webhook_delivery d
                          WHERE d.client_id = a.client_id AND d.id = a.delivery_id AND d.finished_at IS NULL)
        ORDER BY a.started_at LIMIT :limit)
""")
_FORGET_DELIVERIES = text("""
    WITH old AS MATERIALIZED (
        SELECT client_id, id FROM webhook_delivery
        WHERE finished_at < now() - make_interval(days => :days)
        ORDER BY finished_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ), attempts AS (
        DELETE FROM webhook_attempt a USING old WHERE a.client_id = old.client_id AND a.delivery_id = old.id
    )
    DELETE FROM webhook_delivery d USING old WHERE d.client_id = old.client_id AND d.id = old.id
""")
