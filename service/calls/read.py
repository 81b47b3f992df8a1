"""Query call records: newest first, by what is wanted of them.

A page and its total cost the same however many calls there are. A whole period is counted by its hours' and days'
tallies, and a page far down in it begins in the hour that holds its first row; what is narrowed down to a source or a
customer is counted and paged by an index that holds just that.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, func, select, text, tuple_

from service.calls.period import Period
from service.calls.wanted import Wanted
from service.db.transaction import reading, snapshot
from service.ledger.event import event_id
from service.ledger.statement import Page
from service.models import CallRecord

NEAR = 500  # rows that are stepped over sooner than their place is looked up
_TICK = timedelta(microseconds=1)  # what Postgres tells apart
_C = CallRecord

Place = tuple[datetime, int]


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
    leg: int
    customer_id: int | None
    event_seq: int | None
    disposition: str | None

    @property
    def place(self) -> Place:
        """Where it stands in a list."""
        return self.start_time, self.id

    @property
    def event_id(self) -> str | None:
        """The public name of the event that charged it."""
        if self.customer_id is None or self.event_seq is None:
            return None
        return event_id(self.customer_id, self.event_seq)


_COLUMNS = (
    _C.amount, _C.destination, _C.duration, _C.end_time, _C.id, _C.source, _C.start_time, _C.uniqueid, _C.leg,
    _C.customer_id, _C.event_seq, _C.disposition,
)  # fmt: skip
_NEWEST_FIRST = (_C.start_time.desc(), _C.id.desc())


def list_calls(engine: Engine, wanted: Wanted, limit: int, offset: int) -> tuple[list[CallView], int]:
    """The calls after the first `offset`, and how many there are in all, both as of one moment."""
    if wanted.whole_period is not None:
        return _page_of(engine, wanted.client_id, wanted.whole_period, limit, offset)
    page: Select[*tuple[Any, ...]] = select(*_COLUMNS).where(*wanted.conditions()).order_by(*_NEWEST_FIRST)
    with snapshot(engine) as connection:
        total = _total(connection, wanted)
        rows = connection.execute(page.limit(limit).offset(offset)).all() if offset < total else ()
    return [CallView(*row) for row in rows], total


def _page_of(
    engine: Engine, client_id: uuid.UUID, whole: Period, limit: int, offset: int
) -> tuple[list[CallView], int]:
    values = {**_stretch(client_id, whole), "limit": limit, "offset": offset, "near": NEAR}
    with reading(engine) as connection:
        rows = connection.execute(PAGE, values).all()
    return [CallView(*row[1:]) for row in rows if row.id is not None], rows[0].total


def calls_after(engine: Engine, wanted: Wanted, after: Place | None, limit: int) -> Page[CallView, Place]:
    """The calls after a place, or the newest. One that comes in while somebody turns the pages moves none of them."""
    with reading(engine) as connection:
        return _views(connection.execute(_after(wanted, after, limit + 1)).all(), limit)


def calls_between(connection: Connection, wanted: Wanted, after: Place | None, last: Place | None) -> list[CallView]:
    """The calls after a place (None: from the newest on) as far as `last`, itself included (None: all of them)."""
    query: Select[*tuple[Any, ...]] = select(*_COLUMNS).where(*wanted.conditions(), *_behind(after))
    if last is not None:
        query = query.where(_C.start_time >= last[0], tuple_(_C.start_time, _C.id) >= last)
    return [CallView(*row) for row in connection.execute(query.order_by(*_NEWEST_FIRST))]


def place_after(connection: Connection, wanted: Wanted, after: Place | None, number: int) -> Place | None:
    """The place of the call that is that many after another (None: from the newest on); None if there are not so many.

    Quick where an index finds what is wanted: see `Wanted.indexed`.
    """
    query = select(_C.start_time, _C.id).where(*wanted.conditions(), *_behind(after)).order_by(*_NEWEST_FIRST)
    row = connection.execute(query.offset(number - 1).limit(1)).one_or_none()
    return None if row is None else (row.start_time, row.id)


def count_calls(engine: Engine, wanted: Wanted) -> int:
    """How many there are."""
    with reading(engine) as connection:
        return _total(connection, wanted)


def _views(rows: Sequence[Row[*tuple[Any, ...]]], limit: int) -> Page[CallView, Place]:
    views = [CallView(*row) for row in rows[:limit]]
    return Page(views, views[-1].place if len(rows) > limit else None)


def _after(wanted: Wanted, after: Place | None, limit: int) -> Select[*tuple[Any, ...]]:
    return select(*_COLUMNS).where(*wanted.conditions(), *_behind(after)).order_by(*_NEWEST_FIRST).limit(limit)


def _behind(after: Place | None) -> tuple[ColumnElement[bool], ...]:
    if after is None:
        return ()
    # the first of the two is for the planner: it prunes partitions
    return _C.start_time <= after[0], tuple_(_C.start_time, _C.id) < after


def _total(connection: Connection, wanted: Wanted) -> int:
    whole = wanted.whole_period
    if whole is None:
        return connection.scalar(select(func.count()).select_from(_C).where(*wanted.conditions())) or 0
    return connection.scalar(COUNT, _stretch(wanted.client_id, whole)) or 0


def _stretch(client_id: uuid.UUID, whole: Period) -> dict[str, Any]:
    return {"client": client_id, "from": whole.start, "before": whole.end + _TICK}


COUNT = text("SELECT call_count(:client, :from, :before)")
PAGE = text("""
    SELECT total, (call).amount, (call).destination, (call).duration, (call).end_time, (call).id, (call).source,
           (call).start_time, (call).uniqueid, (call).leg, (call).customer_id, (call).event_seq, (call).disposition
    FROM call_page(:client, :from, :before, :limit, :offset, :near)
""")
