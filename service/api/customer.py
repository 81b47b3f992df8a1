"""`/v1/customer`: list, read, set the credit, set the status."""

from __future__ import annotations

from typing import Any

from flask import Response
from prometheus_client import Counter

from service.access.scopes import Scope
from service.api.answer import answer, flag, moment, page
from service.api.context import caller, holder, services
from service.api.guard import needs
from service.api.parsing import Blueprint
from service.api.schemas import examples
from service.api.schemas.customer import (
    CUSTOMER_PAGE,
    ChangeAnswer,
    CreditChange,
    CustomerQuery,
    CustomerSchema,
    StatusChange,
)
from service.customers.read import CustomerFilter, CustomerView, find_customer, list_customers
from service.doorbell import APPLY, Bell
from service.ledger.command import Command, Why, set_credit, set_status
from service.ledger.drain import shard_of

APPENDS = Counter("pbx_appends", "Events appended, by kind", ["kind"])

blueprint = Blueprint("Customer", __name__, url_prefix="/v1/customer", description="Customers, credit and status")

CHANGE_HEADERS = {
    "ETag": {"description": "The customer's seq after the change, quoted.", "schema": {"type": "string"}},
    "Ledger-Event": {"description": "The id of the ledger event.", "schema": {"type": "string"}},
}


@blueprint.route("", methods=["GET"])
@needs(Scope.CUSTOMER_READ)
@blueprint.arguments(CustomerQuery(), location="query")
@blueprint.response(200, CUSTOMER_PAGE, example=examples.CUSTOMERS)
def get_customers(query: dict[str, Any]) -> Response:
    """List customers, in the order of their ids.

    API dùng để lấy danh sách khách hàng.
    """
    wanted = CustomerFilter(**{name: value for name, value in query.items() if name not in {"limit", "offset"}})
    rows, total = list_customers(
        services().engine, holder().client_id, wanted, limit=query["limit"], offset=query["offset"]
    )
    return page(rows, _dump, query, total)


@blueprint.route("/<ref:ref>", methods=["GET"])
@needs(Scope.CUSTOMER_READ)
@blueprint.response(200, CustomerSchema(), example=examples.CUSTOMER)
def get_customer(ref: str) -> Response:
    """Read one customer by id, username or caller id.

    API dùng để lấy thông tin khách hàng theo id.
    """
    return answer(_dump(find_customer(services().engine, holder().client_id, ref)))


@blueprint.route("/<ref:ref>/credit", methods=["PUT"])
@needs(Scope.CREDIT_WRITE)
@blueprint.arguments(CreditChange())
@blueprint.response(200, ChangeAnswer(), headers=CHANGE_HEADERS, example=examples.CHANGED)
def put_credit(body: dict[str, Any], ref: str) -> Response:
    """Set the credit of a customer.

    API dùng để cập nhật số dư khách hàng theo id. (Log sẽ được lưu mỗi khi update thành công)
    """
    return _change(set_credit(caller(), ref, body["credit"], Why(body["reason"])))


@blueprint.route("/<ref:ref>/status", methods=["PUT"])
@needs(Scope.STATUS_WRITE)
@blueprint.arguments(StatusChange())
@blueprint.response(200, ChangeAnswer(), headers=CHANGE_HEADERS, example=examples.CHANGED)
def put_status(body: dict[str, Any], ref: str) -> Response:
    """Set the status of a customer.

    API dùng để cập nhật trạng thái khách hàng theo id. (Log sẽ được lưu mỗi khi update thành công)
    """
    return _change(set_status(caller(), ref, body["status"], Why(body["reason"])))


def _change(command: Command) -> Response:
    appended = services().ledger.append(command)
    APPENDS.labels(command.kind.value).inc()
    services().bell.ring(Bell(APPLY, shard_of(appended.customer_id)))
    response = answer({"id": str(appended.customer_id), "message": "successfully"})
    response.headers["ETag"] = f'"{appended.last_seq}"'
    response.headers["Ledger-Event"] = appended.event_id
    return response


def _dump(customer: CustomerView) -> dict[str, Any]:
    """The reference's keys, in the reference's order."""
    return {
        "id": customer.id,
        "creationdate": moment(customer.creationdate),
        "firstusedate": moment(customer.firstusedate),
        "expirationdate": moment(customer.expirationdate),
        "enableexpire": customer.enableexpire,
        "expiredays": customer.expiredays,
        "username": customer.username,
        "useralias": customer.useralias,
        "credit": customer.credit,
        "activated": flag(customer.activated),
        "status": customer.status,
        "lastuse": moment(customer.lastuse),
        "creditlimit": customer.creditlimit,
        "id_group": customer.id_group,
        "caller_ids": [{"cid": c.cid, "activated": flag(c.activated)} for c in customer.caller_ids],
    }
