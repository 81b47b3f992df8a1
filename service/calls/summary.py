"""What a period's calls come to: how many, how long, how much; by day, customer, source or destination."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import CTE, BigInteger, ColumnElement, Date, Engine, Subquery, cast, func, literal, select, true

from service.calls.wanted import Wanted
from service.db.transaction import reading
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
    grouped = select(key, *_SUMS).where(*wanted.conditions()).group_by(key).cte("grouped")
    page = select(grouped).order_by(*_order(group_by, grouped)).limit(limit).offset(offset).cte("page")
    # Also a page of no groups has a row: what all calls come to.
    everything = _all(grouped)
    query = select(everything, page).outerjoin_from(everything, page, true()).order_by(*_order(group_by, page))
    with reading(engine) as connection:
        rows = connection.execute(query).all()
    groups = [Sum(*row[4:]) for row in rows if row.calls is not None]
    return Summary(groups, rows[0].groups, Sum(None, *rows[0][1:4]))


def _all(grouped: CTE) -> Subquery:
    """How many groups there are, and what they come to."""
    c = grouped.c
    return (
        select(
            func.count().label("groups"),
            cast(func.coalesce(func.sum(c.calls), 0), BigInteger).label("all_calls"),
            cast(func.coalesce(func.sum(c.seconds), 0), BigInteger).label("all_seconds"),
            func.coalesce(func.sum(c.amount), 0).label("all_amount"),
        )
        .select_from(grouped)
        .subquery("everything")
    )


def _order(group_by: GroupBy, groups: CTE) -> list[ColumnElement[Any]]:
    return [groups.c.key] if group_by is GroupBy.DAY else [groups.c.amount.desc(), groups.c.key]


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
