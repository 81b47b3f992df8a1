"""`/v1/call/log`: the calls of a period."""

from __future__ import annotations

from typing import Any

from flask import Response

from service import clock
from service.access.scopes import Scope
from service.api.answer import moment, page
from service.api.context import holder, services
from service.api.guard import needs
from service.api.parsing import Blueprint
from service.api.schemas import examples
from service.api.schemas.call import CALL_PAGE, CallQuery
from service.calls.period import period
from service.calls.read import CallView, list_calls

blueprint = Blueprint("Call", __name__, url_prefix="/v1/call", description="Call logs")


@blueprint.route("/log", methods=["GET"])
@needs(Scope.CALL_READ)
@blueprint.arguments(CallQuery(), location="query")
@blueprint.response(200, CALL_PAGE, example=examples.CALLS)
def get_call_log(query: dict[str, Any]) -> Response:
    """List the calls of a period, newest first.

    API dùng để lấy danh sách các cuộc gọi và số tiền theo khoảng thời gian.
    """
    when = period(query.get("start_date"), query.get("end_date"), clock.now(), services().config.timezone)
    rows, total = list_calls(
        services().engine, holder().client_id, when, query.get("source"), limit=query["limit"], offset=query["offset"]
    )
    return page(rows, _dump, query, total)


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
