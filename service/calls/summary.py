"""What a period's calls come to: how many, how long, how much; by day, customer, source or destination."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Date, Engine, cast, func, literal, select

from service.calls.wanted import Wanted
from service.db.transaction import snapshot
from service.models import CallRecord

_C = CallRecord


class GroupBy(StrEnum):
    """What calls are added up by."""

    DAY = "day"
    CUSTOMER = "customer"
    SOURCE = "source"
    DESTINATION = "destination"


@dataclass(frozen=True, slots=True)
class Sum:
    """Calls added up: how many, seconds, credit units. `key` is a day, a customer's id or a number; None for all."""

    key: date | int | str | None
    calls: int
    seconds: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Summary:
    """Some of the groups, how many groups there are, and what all calls come to."""

    groups: Sequence[Sum]
    total: int
    all: Sum


def summarize(
    engine: Engine, wanted: Wanted, group_by: GroupBy, timezone: ZoneInfo, *, limit: int, offset: int
) -> Summary:
    """Days in their order (as the clocks of `timezone` have them), other groups by what they cost, most first."""
    key = _key(group_by, timezone).label("key")
    grouped = select(key, *_SUMS).where(*wanted.conditions()).group_by(key).subquery()
    order = [grouped.c.key] if group_by is GroupBy.DAY else [grouped.c.amount.desc(), grouped.c.key]
    page = select(grouped).order_by(*order).limit(limit).offset(offset)
    with snapshot(engine) as connection:
        everything = connection.execute(select(*_SUMS).where(*wanted.conditions())).one()
        total = connection.scalar(select(func.count()).select_from(grouped)) or 0
        groups = [Sum(*row) for row in connection.execute(page)]
    return Summary(groups, total, Sum(None, *everything))


def _key(group_by: GroupBy, timezone: ZoneInfo) -> ColumnElement[Any]:
    match group_by:
        case GroupBy.DAY:
            return cast(func.timezone(literal(timezone.key), _C.start_time), Date)
        case GroupBy.CUSTOMER:
            return _C.customer_id.expression
        case GroupBy.SOURCE:
            return _C.source.expression
        case GroupBy.DESTINATION:
            return _C.destination.expression


_SUMS = (
    func.count().label("calls"),
    func.coalesce(func.sum(_C.duration), 0).label("seconds"),
    func.coalesce(func.sum(_C.amount), 0).label("amount"),
)
