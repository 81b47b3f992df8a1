"""What became of an endpoint's deliveries, attempt by attempt, newest first.

A page begins after a delivery's id. Ids rise with time (UUIDv7), so whatever is owed while somebody turns the pages, no
delivery comes twice and none is left out. What was missed is found in an index of its own; the search for anything else
that is rare ends after PATIENCE.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Select, TextClause, exists, select, text

from service.db.transaction import reading, transaction
from service.errors import NotFound
from service.ledger.event import event_id
from service.ledger.statement import Page
from service.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from service.webhooks.endpoints import webhook_not_found

STATUSES = ("pending", "sending", "delivered", "failed", "skipped")
MISSED = ("failed", "skipped")
# Said literally, beside the parameter: from that alone the planner sees that the index of what was missed will do.
IS_MISSED = "status IN ('failed', 'skipped')"
PATIENCE = "10s"  # for a statement; less than callers and their proxies have, and a web thread has others to serve
SKEW = timedelta(hours=1)  # more than the clocks of database and workers differ by, or a transaction lasts
_D = WebhookDelivery
_A = WebhookAttempt
_E = WebhookEndpoint


@dataclass(frozen=True, slots=True)
class Attempt:
    """One POST; `outcome` None: under way."""

    number: int
    outcome: str | None
    status_code: int | None
    milliseconds: int | None
    error: str | None
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message owed to an endpoint, and every attempt at it; `body` are the bytes that are signed and sent."""

    id: uuid.UUID
    endpoint_id: uuid.UUID
    customer_id: int
    seq: int
    event_type: str
    webhook_id: str
    status: str
    created_at: datetime
    next_attempt_at: datetime | None
    finished_at: datetime | None
    body: bytes
    attempts: Sequence[Attempt]

    @property
    def event_id(self) -> str | None:
        """The event that it tells of; None where it tells of none."""
        return event_id(self.customer_id, self.seq) if self.customer_id else None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which deliveries: of one status, of one type, made at a moment or later, or all; after the delivery `after`."""

    limit: int
    after: uuid.UUID | None = None
    status: str | None = None
    event_type: str | None = None
    since: datetime | None = None


def list_deliveries(
    engine: Engine, client_id: uuid.UUID, endpoint_id: uuid.UUID, wanted: Wanted
) -> Page[Delivery, uuid.UUID]:
    """A page of an endpoint's deliveries. Raises NotFound; Unavailable where it is not found within PATIENCE."""
    with transaction(engine) as tx:
        limit_time(tx)
        _require_there(tx, client_id, endpoint_id)
        rows = tx.execute(_page(client_id, endpoint_id, wanted)).mappings().all()
        attempts = _attempts(tx, client_id, [row["id"] for row in rows])
    found = [Delivery(**row, attempts=attempts[row["id"]]) for row in rows[: wanted.limit]]
    return Page(found, found[-1].id if len(rows) > wanted.limit else None)


def limit_time(tx: Connection) -> None:
    """Let no statement of the rest of a transaction take longer than PATIENCE."""
    tx.execute(_LIMIT_TIME, {"patience": PATIENCE})


def _page(client_id: uuid.UUID, endpoint_id: uuid.UUID, wanted: Wanted) -> Select[*tuple[Any, ...]]:
    conditions: list[ColumnElement[bool] | TextClause] = [_D.client_id == client_id, _D.endpoint_id == endpoint_id]
    if wanted.after is not None:
        conditions.append(_D.id < wanted.after)
    if wanted.status is not None:
        conditions.append(_D.status == wanted.status)
    if wanted.status in MISSED:
        conditions.append(text(IS_MISSED))
    if wanted.event_type is not None:
        conditions.append(_D.event_type == wanted.event_type)
    if wanted.since is not None:
        conditions += [_D.created_at >= wanted.since, _D.id > first_id(wanted.since, -SKEW)]
    return select(*_COLUMNS).where(*conditions).order_by(_D.id.desc()).limit(wanted.limit + 1)


def find_delivery(engine: Engine, client_id: uuid.UUID, endpoint_id: uuid.UUID, delivery_id: uuid.UUID) -> Delivery:
    """One delivery. Raises NotFound."""
    one = select(*_COLUMNS).where(_D.client_id == client_id, _D.id == delivery_id, _D.endpoint_id == endpoint_id)
    with reading(engine) as connection:
        _require_there(connection, client_id, endpoint_id)
        row = connection.execute(one).mappings().one_or_none()
        if row is None:
            raise delivery_not_found()
        return Delivery(**row, attempts=_attempts(connection, client_id, [delivery_id])[delivery_id])


def first_id(moment: datetime, skew: timedelta = timedelta()) -> uuid.UUID:
    """An id lower than those of deliveries made at a moment or later: it keeps a search to its part of the index."""
    milliseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC) + skew) // timedelta(milliseconds=1)
    return uuid.UUID(int=min(max(milliseconds, 0), (1 << 48) - 1) << 80)


def delivery_not_found() -> NotFound:
    """The endpoint has no delivery of that id."""
    return NotFound("delivery not found")


def _require_there(connection: Connection, client_id: uuid.UUID, endpoint_id: uuid.UUID) -> None:
    there = exists().where(_E.client_id == client_id, _E.id == endpoint_id, _E.deleted_at.is_(None))
    if not connection.scalar(select(there)):
        raise webhook_not_found()


def _attempts(
    connection: Connection, client_id: uuid.UUID, deliveries: Sequence[uuid.UUID]
) -> Mapping[uuid.UUID, Sequence[Attempt]]:
    attempts: dict[uuid.UUID, list[Attempt]] = defaultdict(list)
    of_these = (
        select(_A.delivery_id, _A.number, _A.outcome, _A.status_code, _A.milliseconds, _A.error, _A.started_at)
        .where(_A.client_id == client_id, _A.delivery_id.in_(deliveries))
        .order_by(_A.delivery_id, _A.number)
    )
    for row in connection.execute(of_these).mappings():
        attempts[row["delivery_id"]].append(Attempt(**{name: row[name] for name in row if name != "delivery_id"}))
    return attempts


_COLUMNS = (
    _D.id, _D.endpoint_id, _D.customer_id, _D.seq, _D.event_type, _D.webhook_id, _D.status, _D.created_at,
    _D.next_attempt_at, _D.finished_at, _D.body,
)  # fmt: skip
_LIMIT_TIME = text("SELECT set_config('statement_timeout', :patience, true)")
