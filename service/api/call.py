"""`/v1/call/log`, `/v1/call/summary`: the calls of a period, and what they come to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Response

from service import clock
from service.access.scopes import Scope
from service.api.answer import answer, moment, page
from service.api.context import holder, services
from service.api.cursor import NO_CURSOR, write_cursor
from service.api.guard import needs
from service.api.listing import CSV_TOO, VARY, Listing, wants_csv
from service.api.parsing import Blueprint
from service.api.schemas import call_examples as examples
from service.api.schemas import examples as reference
from service.api.schemas.call import CURSOR, CallPage, CallQuery, SummaryPage, SummaryQuery
from service.calls.period import Period, period
from service.calls.read import CallView, Place, calls_after, count_calls, list_calls
from service.calls.sheet import COLUMNS, row_of
from service.calls.summary import GroupBy, Sum, summarize
from service.calls.wanted import Wanted, of_customer
from service.errors import Invalid

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

blueprint = Blueprint("Call", __name__, url_prefix="/v1/call", description="Call logs")


@blueprint.route("/log", methods=["GET"])
@needs(Scope.CALL_READ)
@blueprint.arguments(CallQuery(), location="query")
@blueprint.response(200, CallPage(), headers=VARY, example=reference.CALLS)
@blueprint.alt_response(200, **CSV_TOO)
def get_call_log(query: dict[str, Any]) -> Response:
    """List the calls of a period, newest first.

    API dùng để lấy danh sách các cuộc gọi và số tiền theo khoảng thời gian. `Accept: text/csv` gives all of them as
    CSV, with more columns.
    """
    ever = query.get("unmatched", False) and query.keys().isdisjoint({"start_date", "end_date"})
    wanted = _wanted(query, None if ever else _period(query))
    if wants_csv():
        return _listing(wanted).answer(_place(query.get("after")), None)
    if "after" in query:
        response = _page_after(wanted, _place(query["after"]), query["limit"])
    else:
        rows, total = list_calls(services().engine, wanted, query["limit"], query["offset"])
        response = page(rows, _dump, query, total)
    response.vary.add("Accept")
    return response


@blueprint.route("/summary", methods=["GET"])
@needs(Scope.CALL_READ)
@blueprint.arguments(SummaryQuery(), location="query")
@blueprint.response(200, SummaryPage(), example=examples.SUMMARY)
def get_summary(query: dict[str, Any]) -> Response:
    """Add up the calls of a period by day, customer, source or destination.

    API dùng để thống kê cuộc gọi: số cuộc, số giây, số tiền. Days are in their order; other groups by what they cost,
    most first.
    """
    group_by: GroupBy = query["group_by"]
    timezone = services().config.timezone
    found = summarize(
        services().engine,
        _wanted(query, _period(query)),
        group_by,
        timezone,
        limit=query["limit"],
        offset=query["offset"],
    )
    return answer(
        {
            "data": [{group_by.value: _key(group), **_dump_sum(group)} for group in found.groups],
            "limit": query["limit"],
            "offset": query["offset"],
            "total": found.total,
            "sum": _dump_sum(found.all),
        }
    )


def _page_after(wanted: Wanted, after: Place | None, limit: int) -> Response:
    found = calls_after(services().engine, wanted, after, limit)
    return answer(
        {
            "data": [_dump(call) for call in found.rows],
            "limit": limit,
            "total": count_calls(services().engine, wanted),
            "next": None if found.next is None else _cursor(found.next),
        }
    )


def _period(query: dict[str, Any]) -> Period:
    return period(query.get("start_date"), query.get("end_date"), clock.now(), services().config.timezone)


def _wanted(query: dict[str, Any], when: Period | None) -> Wanted:
    """Which calls of a period a query wants. Raises CustomerNotFound, AmbiguousReference."""
    names = ("source", "destination", "disposition", "min_duration")
    narrowed = {name: query.get(name) for name in names}
    wanted = Wanted(holder().client_id, when, unmatched=query.get("unmatched", False), **narrowed)
    return of_customer(services().engine, wanted, query["customer"]) if "customer" in query else wanted


def _listing(wanted: Wanted) -> Listing[CallView, Place]:
    engine = services().engine
    return Listing[CallView, Place](
        read=lambda after, limit: calls_after(engine, wanted, after, limit),
        dump=row_of,
        cursor=_cursor,
        columns=COLUMNS,
        filename="calls.csv",
    )


def _cursor(place: Place) -> str:
    return write_cursor(CURSOR, (place[0] - _EPOCH) // _MICROSECOND, place[1])


def _place(cursor: tuple[int, ...] | None) -> Place | None:
    try:
        return (_EPOCH + cursor[0] * _MICROSECOND, cursor[1]) if cursor else None
    except OverflowError:
        raise Invalid(f"after: {NO_CURSOR}") from None


def _dump(call: CallView) -> dict[str, Any]:
    """The reference's keys, in the reference's order."""
    return {
        "amount": call.amount,
        "destination": call.destination,
        "duration": call.duration,
        "end_time": moment(call.end_time),
        "id": call.id,
        "source": call.source,
        "start_time": moment(call.start_time),
        "uniqueid": call.uniqueid,
    }


def _key(group: Sum) -> str | None:
    return None if group.key is None else str(group.key)


def _dump_sum(total: Sum) -> dict[str, Any]:
    return {"calls": total.calls, "seconds": total.seconds, "amount": total.amount}
