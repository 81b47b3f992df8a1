"""Changes of one customer: `/v1/customer/{ref}/credit`, `/credit/add`, `/status`, `/limit`."""

from __future__ import annotations

from typing import Any

from flask import Response

from service.access.scopes import Scope
from service.api.context import caller
from service.api.guard import needs
from service.api.once import once
from service.api.parsing import Blueprint
from service.api.preconditions import honours_if_match
from service.api.schemas import examples
from service.api.schemas.change import (
    AdditionAnswer,
    ChangeAnswer,
    CreditAddition,
    CreditChange,
    LimitAnswer,
    LimitChange,
    StatusChange,
)
from service.api.write import CHANGE_HEADERS, change, changed, why
from service.ledger.command import add_credit, set_credit, set_limits, set_status

blueprint = Blueprint("Credit", __name__, url_prefix="/v1/customer", description="Credit, status and limits")

_LIMITS = {"credit_limit": "creditlimit", "credit_notification": "credit_notification"}  # of the API: of the ledger


@blueprint.route("/<ref:ref>/credit", methods=["PUT"])
@needs(Scope.CREDIT_WRITE)
@once
@honours_if_match
@blueprint.arguments(CreditChange())
@blueprint.response(200, ChangeAnswer(), headers=CHANGE_HEADERS, example=examples.CHANGED)
def put_credit(body: dict[str, Any], ref: str) -> Response:
    """Set the credit of a customer.

    API dùng để cập nhật số dư khách hàng theo id. (Log sẽ được lưu mỗi khi update thành công)
    """
    return changed(change(set_credit(caller(), ref, body["credit"], why(body))))


@blueprint.route("/<ref:ref>/credit/add", methods=["PUT"])
@needs(Scope.CREDIT_WRITE)
@once
@honours_if_match
@blueprint.arguments(CreditAddition())
@blueprint.response(200, AdditionAnswer(), headers=CHANGE_HEADERS, example=examples.ADDED)
def put_credit_addition(body: dict[str, Any], ref: str) -> Response:
    """Add to the credit of a customer, or take from it.

    API dùng để cộng thêm số dư cho khách hàng. What would take credit below the floor (credit less what is held, and
    the credit limit) answers 409, and nothing is changed.
    """
    done = change(add_credit(caller(), ref, body["credit"], why(body)))
    return changed(done, credit=done.balance)


@blueprint.route("/<ref:ref>/status", methods=["PUT"])
@needs(Scope.STATUS_WRITE)
@once
@honours_if_match
@blueprint.arguments(StatusChange())
@blueprint.response(200, ChangeAnswer(), headers=CHANGE_HEADERS, example=examples.CHANGED)
def put_status(body: dict[str, Any], ref: str) -> Response:
    """Set the status of a customer.

    API dùng để cập nhật trạng thái khách hàng theo id. (Log sẽ được lưu mỗi khi update thành công)
    """
    return changed(change(set_status(caller(), ref, body["status"], why(body))))


@blueprint.route("/<ref:ref>/limit", methods=["PUT"])
@needs(Scope.CREDIT_WRITE)
@once
@honours_if_match
@blueprint.arguments(LimitChange())
@blueprint.response(200, LimitAnswer(), headers=CHANGE_HEADERS, example=examples.LIMITED)
def put_limit(body: dict[str, Any], ref: str) -> Response:
    """Set how far a customer's credit may fall, and below what it counts as low.

    API dùng để cập nhật hạn mức tín dụng và ngưỡng cảnh báo của khách hàng. What is not named stays as it is.
    """
    limits = {_LIMITS[name]: body[name] for name in _LIMITS if name in body}
    done = change(set_limits(caller(), ref, limits, why(body)))
    return changed(done, available=done.available)
