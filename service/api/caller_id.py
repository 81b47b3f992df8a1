"""`/v1/callerid`: give a customer a caller id, or move one to another customer."""

from __future__ import annotations

from typing import Any

from flask import Response

from service.access.scopes import Scope
from service.api.answer import answer
from service.api.context import caller
from service.api.guard import needs
from service.api.once import once
from service.api.parsing import Blueprint
from service.api.schemas import examples
from service.api.schemas.customer import CallerIdAnswer, CallerIdMove, NewCallerId
from service.api.write import CHANGE_HEADERS, announce, unit, why, with_place
from service.customers.caller_ids import give_caller_id, move_caller_id

blueprint = Blueprint("Caller id", __name__, url_prefix="/v1/callerid", description="Caller ids")


@blueprint.route("", methods=["POST"])
@needs(Scope.CUSTOMER_WRITE)
@once
@blueprint.arguments(NewCallerId())
@blueprint.response(200, CallerIdAnswer(), headers=CHANGE_HEADERS, example=examples.CALLER_ID)
def post_caller_id(body: dict[str, Any]) -> Response:
    """Give a customer a caller id.

    API dùng để thêm caller id cho khách hàng. One that is taken answers 409.
    """
    with unit() as tx:
        done = give_caller_id(tx, caller(), body["user_id"], body["cid"], why(body))
    announce([done])
    return with_place(_answer(body["cid"], body["user_id"]), done)


@blueprint.route("/<cid:cid>", methods=["PUT"])
@needs(Scope.CUSTOMER_WRITE)
@once
@blueprint.arguments(CallerIdMove())
@blueprint.response(200, CallerIdAnswer(), headers=CHANGE_HEADERS, example=examples.CALLER_ID)
def put_caller_id(body: dict[str, Any], cid: str) -> Response:
    """Move a caller id to another customer.

    API dùng để chuyển caller id sang khách hàng khác. Both customers' streams tell of it.
    """
    with unit() as tx:
        done = move_caller_id(tx, caller(), cid, body["user_id"], why(body))
    announce(done)
    response = _answer(cid, body["user_id"])
    return with_place(response, done[-1]) if done else response


def _answer(cid: str, customer_id: int) -> Response:
    return answer({"cid": cid, "message": "successfully", "user_id": str(customer_id)})
