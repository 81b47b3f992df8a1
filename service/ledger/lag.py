"""How far the workers are behind, and which customers they had to leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, text

from service.db.transaction import reading, transaction


@dataclass(frozen=True, slots=True)
class Lag:
    """Events that are not applied yet, the age of the oldest in seconds, and the parked customers."""

    waiting: int
    oldest_seconds: float
    parked_customers: int


def apply_lag(engine: Engine) -> Lag:
    """How far the projection is behind the events. Raises Unavailable."""
    with reading(engine) as connection:
        return Lag(*connection.execute(_LAG).one())


def shards_left_behind(engine: Engine, seconds: float) -> Sequence[int]:
    """The shards that hold an event older than so many seconds: a doorbell was lost, or the workers can't keep up."""
    with reading(engine) as connection:
        return connection.scalars(_LEFT_BEHIND, {"seconds": seconds}).all()


def unpark(engine: Engine, customer_id: int) -> bool:
    """Have the workers try a parked customer again; whether it was parked."""
    with transaction(engine) as tx:
        found = tx.execute(_UNPARK, {"id": customer_id}).rowcount > 0
        tx.execute(_UNPARK_OUTBOX, {"id": customer_id})
    return found


_LAG = text("""
    SELECT count(*), coalesce(greatest(extract(epoch FROM clock_timestamp() - min(recorded_at)), 0), 0)::float8,
           (SELECT count(*) FROM customer WHERE parked_at IS NOT NULL)
    FROM outbox WHERE NOT parked
""")
_LEFT_BEHIND = text("""
    SELECT each.shard FROM generate_series(0, 15) AS each (shard) WHERE EXISTS (
        SELECT FROM outbox
        WHERE outbox.shard = each.shard AND NOT parked
          AND recorded_at < clock_timestamp() - make_interval(secs => :seconds))
""")
_UNPARK = text("UPDATE customer SET parked_at = NULL, parked_reason = NULL WHERE id = :id AND parked_at IS NOT NULL")
_UNPARK_OUTBOX = text("UPDATE outbox SET parked = false WHERE customer_id = :id AND parked")
