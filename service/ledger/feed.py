"""The feed: all events of a client, in an order to which nothing is ever added but at the end.

Whoever remembers the place of the last event that it saw, and asks for what comes after it, gets every event once. No
number drawn at the append could give that: writers commit in another order than they draw. Migration 0008 says how
`position` and `feed_horizon` do.

An event shows here when every transaction that was running as it was written has ended: at once as a rule, later while
some other transaction of the same database server goes on writing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Engine, Select, func, select, tuple_

from service.db.transaction import reading
from service.ledger.statement import EVENT_COLUMNS, EventView, Page
from service.models import LedgerEvent

# How many events a page looks at for those that a filter lets through: some milliseconds. A page that has looked at so
# many says where to go on, however few it has found; else each poll for a rare event would read the feed to its end.
LOOK = 10_000


class FeedPlace(NamedTuple):
    """A place in a feed: that of an event."""

    position: int
    customer_id: int
    seq: int


BEGINNING = FeedPlace(-1, 0, 0)
_PLACE = (LedgerEvent.position, LedgerEvent.customer_id, LedgerEvent.seq)


@dataclass(frozen=True, slots=True)
class Feed:
    """The events of a client, or those of one customer or kind among them, up to a horizon (not included).

    Without a horizon a page reads as far as it can; with one, page after page comes to an end while writes go on.
    """

    client_id: uuid.UUID
    customer_id: int | None = None
    kind: str | None = None
    horizon: int | None = None


def feed_horizon(engine: Engine) -> int:
    """The position up to which feeds may be read now: whatever comes later lies beyond it."""
    with reading(engine) as connection:
        return connection.execute(select(func.feed_horizon(type_=BigInteger))).scalar_one()


def place_in_feed(event: EventView) -> FeedPlace:
    """Where an event stands in its client's feed."""
    return FeedPlace(event.position, event.customer_id, event.seq)


def read_feed(engine: Engine, feed: Feed, after: FeedPlace | None, limit: int) -> Page[EventView, FeedPlace]:
    """The events that come after a place, at most `limit` of them: oldest first, each customer's in order."""
    look_to = _look_to(engine, feed, after) if feed.customer_id is not None or feed.kind is not None else None
    query = _after(select(*EVENT_COLUMNS), feed, after).where(*_filters(feed, look_to)).limit(limit + 1)
    with reading(engine) as connection:
        events = [EventView(*row) for row in connection.execute(query)]
    if len(events) > limit:
        return Page(events[:limit], place_in_feed(events[limit - 1]))
    return Page(events, look_to)


def _look_to(engine: Engine, feed: Feed, after: FeedPlace | None) -> FeedPlace | None:
    """The last of the next LOOK events; None where there are fewer."""
    with reading(engine) as connection:
        row = connection.execute(_after(select(*_PLACE), feed, after).offset(LOOK - 1).limit(1)).one_or_none()
    return None if row is None else FeedPlace(*row)


def _after(query: Select[*tuple[Any, ...]], feed: Feed, after: FeedPlace | None) -> Select[*tuple[Any, ...]]:
    horizon = func.feed_horizon() if feed.horizon is None else feed.horizon
    return query.where(
        LedgerEvent.client_id == feed.client_id,
        tuple_(*_PLACE) > (after or BEGINNING),
        LedgerEvent.position < horizon,
    ).order_by(*_PLACE)


def _filters(feed: Feed, look_to: FeedPlace | None) -> Iterator[ColumnElement[bool]]:
    if feed.customer_id is not None:
        yield LedgerEvent.customer_id == feed.customer_id
    if feed.kind is not None:
        yield LedgerEvent.kind == feed.kind
    if look_to is not None:
        yield tuple_(*_PLACE) <= look_to
