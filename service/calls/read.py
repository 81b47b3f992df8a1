"""Query call records: newest first, by time and source."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import ColumnElement, Engine, func, select

from service.calls.period import Period
from service.db.transaction import reading
from service.models import CallRecord


@dataclass(frozen=True, slots=True)
class CallView:
    """One leg of a call. `amount` in credit units, `duration` in seconds."""

    amount: Decimal
    destination: str
    duration: int
    end_time: datetime
    id: int
    source: str
    start_time: datetime
    uniqueid: str


_COLUMNS = (
    CallRecord.amount,
    CallRecord.destination,
    CallRecord.duration,
    CallRecord.end_time,
    CallRecord.id,
    CallRecord.source,
    CallRecord.start_time,
    CallRecord.uniqueid,
)


def list_calls(
    engine: Engine, client_id: uuid.UUID, when: Period, source: str | None, limit: int, offset: int
) -> tuple[list[CallView], int]:
    """A page of a client's calls that started in a period, newest first, and how many there are in all."""
    conditions: list[ColumnElement[bool]] = [
        CallRecord.client_id == client_id,
        CallRecord.start_time.between(when.start, when.end),
    ]
    if source is not None:
        conditions.append(CallRecord.source == source)
    page = (
        select(*_COLUMNS)
        .where(*conditions)
        .order_by(CallRecord.start_time.desc(), CallRecord.id.desc())
        .limit(limit)
        .offset(offset)
    )
    with reading(engine) as connection:
        rows = connection.execute(page).all()
        total = connection.execute(select(func.count()).select_from(CallRecord).where(*conditions)).scalar_one()
    return [CallView(*row) for row in rows], total
