"""Holds: `POST /v1/customer/{ref}/hold`, and `/v1/hold/{id}` to read, capture and release one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Response

from service import clock
from service.access.scopes import Scope
from service.api.answer import answer, moment
from service.api.context import caller, holder, services
from service.api.guard import needs
from service.api.once import once
from service.api.parsing import Blueprint
from service.api.preconditions import honours_if_match
from service.api.schemas import examples
from service.api.schemas.change import (
    CaptureRequest,
    ClosedHoldAnswer,
    HoldAnswer,
    HoldRequest,
    HoldSchema,
    ReleaseRequest,
)
from service.api.write import CHANGE_HEADERS, change, why, with_place
from service.ledger.command import Appended, capture, hold, release
from service.ledger.event import hold_id
from service.ledger.holds import find_hold, place_of_hold

blueprint = Blueprint("Hold", __name__, url_prefix="/v1", description="Credit that is put aside")


@blueprint.route("/customer/<ref:ref>/hold", methods=["POST"])
@needs(Scope.CREDIT_WRITE)
@once
@honours_if_match
@blueprint.arguments(HoldRequest())
@blueprint.response(200, HoldAnswer(), headers=CHANGE_HEADERS, example=examples.HELD)
def post_hold(body: dict[str, Any], ref: str) -> Response:
    """Put credit aside, for a call that has just begun, say.

    API dùng để tạm giữ số dư của khách hàng. It ends by itself after `expires_in` seconds. More than is available
    answers 409.
    """
    expires_at = clock.now() + timedelta(seconds=body["expires_in"])
    done = change(hold(caller(), ref, body["amount"], expires_at, why(body)))
    response = answer(
        {
            "id": hold_id(done.customer_id, done.seq),
            "message": "successfully",
            "customer_id": str(done.customer_id),
            "amount": body["amount"],
            "available": done.available,
            "expires_at": moment(expires_at),
        }
    )
    return with_place(response, done)


@blueprint.route("/hold/<hold_id:hold>", methods=["GET"])
@needs(Scope.CUSTOMER_READ)
@blueprint.response(200, HoldSchema(), example=examples.HOLD)
def get_hold(hold: str) -> Response:
    """Read one hold.

    API dùng để xem một khoản tạm giữ.
    """
    found = find_hold(services().engine, holder().client_id, hold)
    return answer(
        {
            "id": found.id,
            "customer_id": str(found.customer_id),
            "amount": found.amount,
            "captured": found.captured,
            "status": found.status,
            "expires_at": moment(found.expires_at),
        }
    )


@blueprint.route("/hold/<hold_id:hold>/capture", methods=["PUT"])
@needs(Scope.CREDIT_WRITE)
@once
@honours_if_match
@blueprint.arguments(CaptureRequest())
@blueprint.response(200, ClosedHoldAnswer(), headers=CHANGE_HEADERS, example=examples.CLOSED)
def put_capture(body: dict[str, Any], hold: str) -> Response:
    """Take what was held, all or a part; the rest is free again.

    API dùng để trừ số tiền đã tạm giữ. More than was held answers 409.
    """
    return _closed(hold, change(capture(caller(), place_of_hold(hold), body["amount"], why(body))))


@blueprint.route("/hold/<hold_id:hold>/release", methods=["PUT"])
@needs(Scope.CREDIT_WRITE)
@once
@honours_if_match
@blueprint.arguments(ReleaseRequest())
@blueprint.response(200, ClosedHoldAnswer(), headers=CHANGE_HEADERS, example=examples.CLOSED)
def put_release(body: dict[str, Any], hold: str) -> Response:
    """Give up a hold; all of it is free again.

    API dùng để huỷ khoản tạm giữ.
    """
    return _closed(hold, change(release(caller(), place_of_hold(hold), why(body))))


def _closed(hold: str, done: Appended) -> Response:
    response = answer(
        {
            "id": hold,
            "message": "successfully",
            "customer_id": str(done.customer_id),
            "credit": done.balance,
            "available": done.available,
        }
    )
    return with_place(response, done)
