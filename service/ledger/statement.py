"""What has happened to one customer, read back: the statement, the change log, a single event.

A stream has no gaps and what is in it never changes, so the place of a row is its seq. Pages begin after a seq and not
after a number of rows: whatever is appended while somebody turns the pages, no row comes twice and none is left out.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Engine, Row, Select, Text, cast, select, text
from sqlalchemy.orm import InstrumentedAttribute

from service.db.transaction import reading
from service.errors import AmbiguousReference, CustomerNotFound
from service.ledger.event import event_id, place_of
from service.ledger.refusals import event_not_found
from service.models import ChangeLog, LedgerEvent

R = TypeVar("R")
Place = TypeVar("Place")


@dataclass(frozen=True, slots=True)
class Page(Generic[R, Place]):
    """Some rows of a list, and the place after which it goes on; None where there is no more."""

    rows: Sequence[R]
    next: Place | None


@dataclass(frozen=True, slots=True)
class Stretch:
    """The events of a customer from one seq to another, both inclusive; none where `last` is before `first`."""

    client_id: uuid.UUID
    customer_id: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows of a stretch: those of one `kind`, or all; at most `limit` of them, after the seq `after`."""

    limit: int
    after: int | None = None
    newest_first: bool = True
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class EventView:
    """An event as it was written. Money is in credit units; `detail` is JSON, to the letter."""

    customer_id: int
    seq: int
    kind: str
    amount: Decimal | None
    delta: Decimal
    balance_after: Decimal
    held: Decimal
    creditlimit: Decimal | None
    status: int
    reason: str | None
    reference: str | None
    refers_to_seq: int | None
    detail: str | None
    actor: str
    request_id: str | None
    idempotency_key: str | None
    recorded_at: datetime
    position: int

    @property
    def id(self) -> str:
        """The public name of the event."""
        return event_id(self.customer_id, self.seq)

    @property
    def balance_before(self) -> Decimal:
        """The credit that the event found."""
        return self.balance_after - self.delta

    @property
    def refers_to(self) -> str | None:
        """The public name of the event that this one is about: a hold, a change that is reversed."""
        return None if self.refers_to_seq is None else event_id(self.customer_id, self.refers_to_seq)


@dataclass(frozen=True, slots=True)
class ChangeView:
    """A row of the change log: an event that a worker has applied, and what it changed. Money is in credit units."""

    customer_id: int
    seq: int
    kind: str
    credit_before: Decimal
    credit_after: Decimal
    status_before: int
    status_after: int
    actor: str
    reason: str | None
    reference: str | None
    recorded_at: datetime
    applied_at: datetime

    @property
    def id(self) -> str:
        """The public name of the event."""
        return event_id(self.customer_id, self.seq)


EVENT_COLUMNS = (
    LedgerEvent.customer_id,
    LedgerEvent.seq,
    LedgerEvent.kind,
    LedgerEvent.amount,
    LedgerEvent.delta,
    LedgerEvent.balance_after,
    LedgerEvent.held_after,
    LedgerEvent.creditlimit_after,
    LedgerEvent.status_after,
    LedgerEvent.reason,
    LedgerEvent.reference,
    LedgerEvent.refers_to,
    cast(LedgerEvent.detail, Text),  # the driver would read its numbers as floats
    LedgerEvent.actor,
    LedgerEvent.request_id,
    LedgerEvent.idempotency_key,
    LedgerEvent.recorded_at,
    LedgerEvent.position,
)
# A look-up for each row that is shown; in a join, the planner may choose to walk both tables from the first event on.
_REFERENCE = (
    select(LedgerEvent.reference)
    .where(LedgerEvent.customer_id == ChangeLog.customer_id, LedgerEvent.seq == ChangeLog.seq)
    .scalar_subquery()
)
_CHANGE_COLUMNS = (
    ChangeLog.customer_id,
    ChangeLog.seq,
    ChangeLog.kind,
    ChangeLog.credit_before,
    ChangeLog.credit_after,
    ChangeLog.status_before,
    ChangeLog.status_after,
    ChangeLog.actor,
    ChangeLog.reason,
    _REFERENCE,
    ChangeLog.recorded_at,
    ChangeLog.applied_at,
)


def stretch(
    engine: Engine, client_id: uuid.UUID, ref: str, start: datetime | None = None, end: datetime | None = None
) -> Stretch:
    """The events that a customer has now, or those of them that were recorded from one moment to another.

    Both ends are inclusive, and are swapped where they are the wrong way round. Raises CustomerNotFound,
    AmbiguousReference.
    """
    if start is not None and end is not None:
        start, end = sorted((start, end))
    parameters = {"client": client_id, "ref": ref, "start": start, "end": end}
    with reading(engine) as connection:
        rows = connection.execute(_STRETCH, parameters).all()
    return Stretch(client_id, *the_one(rows, ref))


def the_one(rows: Sequence[Row[*tuple[Any, ...]]], ref: str) -> Row[*tuple[Any, ...]]:
    """The row of the one customer that a reference means. Raises CustomerNotFound, AmbiguousReference."""
    if not rows:
        raise CustomerNotFound
    if len(rows) > 1:
        raise AmbiguousReference(ref)
    return rows[0]


def statement(engine: Engine, among: Stretch, wanted: Wanted) -> Page[EventView, int]:
    """A page of a customer's events, in the order of their seq or against it."""
    mine = (LedgerEvent.customer_id == among.customer_id, LedgerEvent.client_id == among.client_id)
    query = _narrowed(select(*EVENT_COLUMNS).where(*mine), among, wanted, LedgerEvent.seq, LedgerEvent.kind)
    return _page(engine, query, wanted.limit, lambda row: EventView(*row))


def change_log(engine: Engine, among: Stretch, wanted: Wanted) -> Page[ChangeView, int]:
    """A page of what workers have applied of a customer's events, in the order of their seq or against it."""
    mine = (ChangeLog.customer_id == among.customer_id, ChangeLog.client_id == among.client_id)
    query = _narrowed(select(*_CHANGE_COLUMNS).where(*mine), among, wanted, ChangeLog.seq, ChangeLog.kind)
    return _page(engine, query, wanted.limit, lambda row: ChangeView(*row))


def find_event(engine: Engine, client_id: uuid.UUID, public_id: str) -> EventView:
    """One event of a client. Raises NotFound."""
    place = place_of(public_id, "evt")
    if place is None:
        raise event_not_found()
    there = (LedgerEvent.customer_id == place[0], LedgerEvent.seq == place[1], LedgerEvent.client_id == client_id)
    query: Select[*tuple[Any, ...]] = select(*EVENT_COLUMNS).where(*there)
    with reading(engine) as connection:
        events = [EventView(*row) for row in connection.execute(query)]
    if not events:
        raise event_not_found()
    return events[0]


def _narrowed(
    query: Select[*tuple[Any, ...]],
    among: Stretch,
    wanted: Wanted,
    seq: InstrumentedAttribute[int],
    kind: InstrumentedAttribute[str],
) -> Select[*tuple[Any, ...]]:
    """One row more than is wanted: it tells whether there are more."""
    query = query.where(*_conditions(among, wanted, seq, kind))
    return query.order_by(seq.desc() if wanted.newest_first else seq).limit(wanted.limit + 1)


def _conditions(
    among: Stretch, wanted: Wanted, seq: InstrumentedAttribute[int], kind: InstrumentedAttribute[str]
) -> Iterator[ColumnElement[bool]]:
    yield seq.between(among.first, among.last)
    if wanted.after is not None:
        yield seq < wanted.after if wanted.newest_first else seq > wanted.after
    if wanted.kind is not None:
        yield kind == wanted.kind


_Seen = TypeVar("_Seen", EventView, ChangeView)


def _page(
    engine: Engine, query: Select[*tuple[Any, ...]], limit: int, view: Callable[[Row[*tuple[Any, ...]]], _Seen]
) -> Page[_Seen, int]:
    with reading(engine) as connection:
        rows = [view(row) for row in connection.execute(query)]
    shown = rows[:limit]
    return Page(shown, shown[-1].seq if len(rows) > limit else None)


_STRETCH = text("""
    SELECT s.customer_id,
           CASE WHEN CAST(:start AS timestamptz) IS NULL THEN 1
                ELSE ledger_seq_at(s.customer_id, CAST(:start AS timestamptz) - interval '1 microsecond') + 1 END,
           CASE WHEN CAST(:end AS timestamptz) IS NULL THEN s.last_seq
                ELSE ledger_seq_at(s.customer_id, CAST(:end AS timestamptz)) END
    FROM stream s WHERE s.customer_id = ANY (customer_resolve(:client, :ref)) LIMIT 2
""")
