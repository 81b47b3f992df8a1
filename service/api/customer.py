"""`/v1/customer`: list, read, create."""

from __future__ import annotations

from typing import Any

from flask import Response, request

from service.access.scopes import Scope
from service.api.answer import answer, flag, moment, page
from service.api.context import caller, holder, services
from service.api.guard import needs
from service.api.once import once
from service.api.parsing import Blueprint
from service.api.schemas import examples
from service.api.schemas.customer import (
    CUSTOMER_PAGE,
    CustomerQuery,
    CustomerSchema,
    NewCustomerAnswer,
    NewCustomerRequest,
)
from service.api.write import CHANGE_HEADERS, announce, unit, why, with_place
from service.customers.create import NewCustomer, create_customer, new_alias
from service.customers.read import CustomerFilter, CustomerView, find_customer, list_customers

SEQ_HEADER = {"ETag": {"description": "The customer's seq, quoted.", "schema": {"type": "string"}}}
IF_NONE_MATCH = {
    "in": "header",
    "name": "If-None-Match",
    "description": "ETags of earlier answers.",
    "schema": {"type": "string"},
}

blueprint = Blueprint("Customer", __name__, url_prefix="/v1/customer", description="Customers")


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


@blueprint.route("", methods=["POST"])
@needs(Scope.CUSTOMER_WRITE)
@once
@blueprint.arguments(NewCustomerRequest())
@blueprint.response(200, NewCustomerAnswer(), headers=CHANGE_HEADERS, example=examples.CREATED)
def post_customer(body: dict[str, Any]) -> Response:
    """Create a customer. The opening credit is its first event.

    API dùng để tạo khách hàng mới. `credit_limit` is required when `type_paid` is 1 (postpaid).
    """
    new = _new_customer(body)
    with unit() as tx:
        created = create_customer(tx, caller(), new, why(body))
    announce([created])
    response = answer(
        {
            "message": "successfully",
            "id": str(created.customer_id),
            "username": new.username,
            "cid": body["cid"],
            "status": int(new.status),
        }
    )
    return with_place(response, created)


@blueprint.route("/<ref:ref>", methods=["GET"])
@needs(Scope.CUSTOMER_READ)
@blueprint.response(200, CustomerSchema(), headers=SEQ_HEADER, example=examples.CUSTOMER)
@blueprint.doc(parameters=[IF_NONE_MATCH], responses={"304": {"description": "It is as it was then; no body."}})
def get_customer(ref: str) -> Response:
    """Read one customer by id, username or caller id.

    API dùng để lấy thông tin khách hàng theo id. With `If-None-Match` and the ETag of an earlier answer: 304, and no
    body, if nothing has changed since.
    """
    customer = find_customer(services().engine, holder().client_id, ref)
    response = answer(_dump(customer))
    response.set_etag(str(customer.seq))
    if customer.status_pending:  # it reads differently than it did at this very seq
        return response
    response.make_conditional(request)
    return response


def _new_customer(body: dict[str, Any]) -> NewCustomer:
    same = ("username", "type_paid", "credit", "credit_notification", "status", "activated", "enableexpire",
            "expirationdate", "expiredays", "id_group")  # fmt: skip
    return NewCustomer(
        **{name: body[name] for name in same},
        useralias=body["useralias"] or new_alias(),
        creditlimit=body["credit_limit"],
        caller_ids=[body["cid"]] if body["cid"] else (),
    )


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
