"""Find and list customers.

Credit and status are read from the stream's head, not from the projection: what was accepted is shown at once, whether
or not a worker is alive. Filters look at the same values, so a list never shows a row that its filter denies.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    Select,
    and_,
    any_,
    case,
    exists,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by

from service.db.transaction import reading
from service.errors import AmbiguousReference, CustomerNotFound
from service.ledger.event import Status
from service.models import CallerId, Customer, Stream


@dataclass(frozen=True, slots=True)
class CallerIdView:
    """A caller id of a customer."""

    cid: str
    activated: bool


@dataclass(frozen=True, slots=True)
class CustomerView:
    """A customer with its accepted credit (credit units) and status (PBX code), and its caller ids.

    `status_pending`: it has expired by itself, and the event that says so is not written yet.
    """

    id: int
    creationdate: datetime
    firstusedate: datetime | None
    expirationdate: datetime | None
    enableexpire: int
    expiredays: int
    username: str
    useralias: str
    credit: Decimal
    activated: bool
    status: int
    lastuse: datetime | None
    creditlimit: Decimal | None
    id_group: int | None
    seq: int
    status_pending: bool
    caller_ids: tuple[CallerIdView, ...]


@dataclass(frozen=True, slots=True)
class CustomerFilter:
    """What a list is narrowed to; None leaves a field open. Credit bounds are exclusive."""

    status: Status | None = None
    id_group: int | None = None
    username: str | None = None
    caller_id: str | None = None
    credit_lt: Decimal | None = None
    credit_gt: Decimal | None = None


# Expired is who was active when the time was over, also before the clock has come by to say so.
_EXPIRED = and_(
    Stream.status == int(Status.ACTIVE),
    Customer.expires_at <= func.now(),
    or_(Stream.status_at.is_(None), Stream.status_at < Customer.expires_at),
).is_(True)
_STATUS = case((_EXPIRED, int(Status.EXPIRED)), else_=Stream.status)

_COLUMNS = (
    Customer.id,
    Customer.creationdate,
    Customer.firstusedate,
    Customer.expirationdate,
    Customer.enableexpire,
    Customer.expiredays,
    Customer.username,
    Customer.useralias,
    Stream.balance,
    Customer.activated,
    _STATUS,
    Customer.lastuse,
    Stream.creditlimit,
    Customer.id_group,
    Stream.last_seq,
    _EXPIRED,
)
_CALLER_IDS = (
    select(func.json_agg(aggregate_order_by(func.json_build_array(CallerId.cid, CallerId.activated), CallerId.cid)))
    .where(CallerId.customer_id == Customer.id)
    .scalar_subquery()
)


def find_customer(engine: Engine, client_id: uuid.UUID, ref: str) -> CustomerView:
    """The one customer that a reference means. Raises CustomerNotFound, AmbiguousReference."""
    query = _customers().where(Customer.id == any_(func.customer_resolve(client_id, ref))).limit(2)
    with reading(engine) as connection:
        rows = connection.execute(query).all()
    if not rows:
        raise CustomerNotFound
    if len(rows) > 1:
        raise AmbiguousReference(ref)
    return _view(rows[0])


def list_customers(
    engine: Engine, client_id: uuid.UUID, wanted: CustomerFilter, limit: int, offset: int
) -> tuple[list[CustomerView], int]:
    """A page of customers in the order of their ids, and how many there are in all."""
    conditions = [Customer.client_id == client_id, *_conditions(wanted)]
    page = _customers().where(*conditions).order_by(Customer.id).limit(limit).offset(offset)
    with reading(engine) as connection:
        rows = connection.execute(page).all()
        return [_view(row) for row in rows], _total(connection, conditions)


def _customers() -> Select[*tuple[Any, ...]]:
    return select(*_COLUMNS, _CALLER_IDS).join(Stream, Stream.customer_id == Customer.id)


def _total(connection: Connection, conditions: Sequence[ColumnElement[bool]]) -> int:
    counted = select(func.count()).select_from(Customer).join(Stream, Stream.customer_id == Customer.id)
    return connection.execute(counted.where(*conditions)).scalar_one()


def _conditions(wanted: CustomerFilter) -> Iterator[ColumnElement[bool]]:
    if wanted.status is not None:
        yield literal(int(wanted.status)) == _STATUS
    if wanted.credit_lt is not None:
        yield Stream.balance < wanted.credit_lt
    if wanted.credit_gt is not None:
        yield Stream.balance > wanted.credit_gt
    if wanted.id_group is not None:
        yield Customer.id_group == wanted.id_group
    if wanted.username is not None:
        yield Customer.username == wanted.username
    if wanted.caller_id is not None:
        yield exists().where(CallerId.customer_id == Customer.id, CallerId.cid == wanted.caller_id)


def _view(row: Row[Any]) -> CustomerView:
    fields: list[Any] = [*row[:-1], tuple(CallerIdView(*pair) for pair in row[-1] or ())]
    return CustomerView(*fields)
