"""Customers."""

from __future__ import annotations

from marshmallow import Schema, fields

from service.api.fields import Credit, PlainText, QueryCredit, StatusFilter, StatusName, Whole
from service.api.schemas.shared import Input, Page, paged

REASON_LENGTH = 255
MOMENT = {"example": "2021-05-31T17:17:35Z"}
FLAG = {"enum": ["t", "f"]}
_reason = {"description": "Why; kept on the event for good.", "example": "top-up 4711"}


class CallerIdSchema(Schema):
    """A caller id of a customer."""

    cid = fields.String(required=True, metadata={"example": "0123456787"})
    activated = fields.String(required=True, metadata=FLAG)


class CustomerSchema(Schema):
    """A customer, with exactly the reference's keys and types."""

    id = fields.Integer(required=True, metadata={"example": 1})
    creationdate = fields.DateTime(required=True, metadata=MOMENT)
    firstusedate = fields.DateTime(required=True, allow_none=True, metadata=MOMENT)
    expirationdate = fields.DateTime(required=True, allow_none=True, metadata=MOMENT)
    enableexpire = fields.Integer(
        required=True,
        metadata={"description": "0 never, 1 by date, 2 days since first use, 3 days since creation."},
    )
    expiredays = fields.Integer(required=True)
    username = fields.String(required=True, metadata={"example": "0906237580"})
    useralias = fields.String(required=True, metadata={"example": "12345790644"})
    credit = fields.Float(required=True, metadata={"description": "Exact, at most 5 decimals.", "example": 12343})
    activated = fields.String(required=True, metadata=FLAG)
    status = fields.Integer(
        required=True,
        metadata={
            "description": "0 cancelled, 1 active, 2 new, 3 waiting, 4 reserved, 5 expired, 6 suspended "
            "(underpayment), 7 suspended (litigation), 8 waiting subscription payment.",
            "minimum": 0,
            "maximum": 8,
            "example": 1,
        },
    )
    lastuse = fields.DateTime(required=True, allow_none=True, metadata=MOMENT)
    creditlimit = fields.Float(required=True, allow_none=True)
    id_group = fields.Integer(required=True, allow_none=True, metadata={"example": 2})
    caller_ids = fields.List(fields.Nested(CallerIdSchema), required=True)


class CustomerQuery(Page):
    """A page of customers, and what narrows it."""

    status = StatusFilter(metadata={"description": "A status by name or code."})
    id_group = Whole(0, 2**63 - 1, metadata={"description": "The customer group."})
    username = PlainText(50, metadata={"description": "Exactly this username."})
    caller_id = PlainText(100, metadata={"description": "One of the customer's caller ids, exactly."})
    credit_lt = QueryCredit(metadata={"description": "Credit below this."})
    credit_gt = QueryCredit(metadata={"description": "Credit above this."})


class CreditChange(Input):
    """The credit that a customer should have."""

    credit = Credit(
        required=True,
        metadata={"description": "The new credit (Số dư mới của khách hàng).", "example": 12},
    )
    reason = PlainText(REASON_LENGTH, load_default=None, allow_none=True, metadata=_reason)


class StatusChange(Input):
    """The status that a customer should have."""

    status = StatusName(
        required=True,
        metadata={"description": "The new status (Trạng thái mới của khách hàng).", "example": "active"},
    )
    reason = PlainText(REASON_LENGTH, load_default=None, allow_none=True, metadata=_reason)


class ChangeAnswer(Schema):
    """The answer to a change: exactly these two keys."""

    id = fields.String(required=True, metadata={"description": "The customer's id, as a string.", "example": "1"})
    message = fields.String(required=True, metadata={"example": "successfully"})


CUSTOMER_PAGE = paged(CustomerSchema)
