"""The months that call records lie in, made ahead: a call of a month without a partition has nowhere to go."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine, text

from service import clock
from service.db.transaction import transaction

MONTHS_AHEAD = 3
_MONTH = timedelta(days=31)  # at least one step into each next month, never over one


def ensure_month(tx: Connection, moment: datetime) -> bool:
    """Make the partition for the month (UTC) of a moment, if it is missing; whether it was."""
    return bool(tx.scalar(text("SELECT call_record_ensure_month(:moment)"), {"moment": moment}))


def make_ahead(engine: Engine) -> int:
    """Make this month's partition and those of the next three; how many were missing."""
    first = clock.now().replace(day=1)
    with transaction(engine) as tx:
        return sum(ensure_month(tx, first + _MONTH * ahead) for ahead in range(MONTHS_AHEAD + 1))
