"""After a dump was restored into a new cluster: transaction ids begin again, and the feed's positions must not.

A position is the base plus the id of a transaction. Where positions lie beyond what the base and the newest id can
make, the feed would hide them until the ids have caught up. The base is lifted above all of them, once.
"""

from __future__ import annotations

from sqlalchemy import Engine, text

from service.db.transaction import transaction


def rebase(engine: Engine) -> int | None:
    """The new base, if positions lie too high; None if there was nothing to do. Raises Unavailable.

    Waits for the appends that are under way, and lets none begin meanwhile: they have read the old base.
    """
    with transaction(engine) as tx:
        tx.execute(_WAIT_AT_MOST)
        tx.execute(_LOCK)
        base: int | None = tx.scalar(_REBASE)
    return base


_WAIT_AT_MOST = text("SET LOCAL lock_timeout = '10s'")
_LOCK = text("LOCK TABLE feed_base IN ACCESS EXCLUSIVE MODE")  # every append has read it, and holds on to that
_REBASE = text("""
    UPDATE feed_base SET base = highest.position
    FROM (SELECT max(last_position) AS position FROM stream) AS highest
    WHERE highest.position >= base + pg_snapshot_xmax(pg_current_snapshot())::text::bigint
    RETURNING base
""")
