"""Customers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from marshmallow import Schema, ValidationError, fields, validates_schema

from service.api.fields import (
    Amount,
    CallerIdText,
    Credit,
    CustomerId,
    Digits,
    Flag,
    Moment,
    PlainText,
    QueryCredit,
    StatusFilter,
    StatusName,
    Whole,
    WholeNumber,
)
from service.api.schemas.change import Explained
from service.api.schemas.shared import Page, paged
from service.ledger.event import Status

CID_LENGTH = 100
CID = {"example": "0123456787"}
MOMENT = {"example": "2021-05-31T17:17:35Z"}
FLAG = {"enum": ["t", "f"]}


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


class NewCustomerRequest(Explained):
    """A customer to be."""

    username = Digits(10, required=True, metadata={"description": "Ten digits (10 chữ số).", "example": "0906237580"})
    type_paid = WholeNumber(0, 1, load_default=0, metadata={"description": "0 prepaid, 1 postpaid."})
    cid = CallerIdText(
        CID_LENGTH, shortest=1, load_default=None, allow_none=True, metadata={"description": "A caller id.", **CID}
    )
    credit = Credit(load_default=Decimal(0), metadata={"description": "The opening credit.", "example": 100})
    credit_limit = Amount(
        zero=True,
        load_default=None,
        allow_none=True,
        metadata={"description": "How far below zero the credit may go; required for postpaid.", "example": 50},
    )
    credit_notification = Credit(
        load_default=None, allow_none=True, metadata={"description": "Credit below this is low.", "example": 5}
    )
    useralias = PlainText(
        50,
        shortest=1,
        load_default=None,
        allow_none=True,
        metadata={"description": "A second name; made up if not given.", "example": "12345790644"},
    )
    status = StatusName(load_default=Status.ACTIVE, metadata={"description": "As in a change of the status."})
    activated = Flag(load_default=True, metadata={"description": "`t` or `f`."})
    enableexpire = WholeNumber(
        0,
        3,
        load_default=0,
        metadata={"description": "0 never expires, 1 by date, 2 days since first use, 3 days since creation."},
    )
    expirationdate = Moment(
        load_default=None, allow_none=True, metadata={"description": "For enableexpire 1.", **MOMENT}
    )
    expiredays = WholeNumber(0, 36_500, load_default=0, metadata={"description": "For enableexpire 2 and 3."})
    id_group = WholeNumber(
        0, 2**53, load_default=None, allow_none=True, metadata={"description": "The customer group."}
    )

    @validates_schema
    def _goes_together(self, data: dict[str, Any], **_: Any) -> None:
        if data["type_paid"] == 1 and data["credit_limit"] is None:
            raise ValidationError("is required when type_paid is 1", "credit_limit")
        if data["enableexpire"] == 1 and data["expirationdate"] is None:
            raise ValidationError("is required when enableexpire is 1", "expirationdate")
        if data["enableexpire"] > 1 and data["expiredays"] == 0:
            raise ValidationError("must be at least 1 when enableexpire is 2 or 3", "expiredays")


class NewCustomerAnswer(Schema):
    """A customer that was made."""

    message = fields.String(required=True, metadata={"example": "successfully"})
    id = fields.String(required=True, metadata={"description": "The customer's id, as a string.", "example": "1"})
    username = fields.String(required=True, metadata={"example": "0906237580"})
    cid = fields.String(required=True, allow_none=True, metadata=CID)
    status = fields.Integer(required=True, metadata={"description": "The code of the status.", "example": 1})


class NewCallerId(Explained):
    """A caller id to be."""

    user_id = CustomerId(required=True, metadata={"description": "The customer's id.", "example": "1"})
    cid = CallerIdText(CID_LENGTH, shortest=1, required=True, metadata={"description": "The caller id.", **CID})


class CallerIdMove(Explained):
    """Whose a caller id shall be."""

    user_id = CustomerId(required=True, metadata={"description": "The customer's id.", "example": "1"})


class CallerIdAnswer(Schema):
    """Whose a caller id is."""

    cid = fields.String(required=True, metadata=CID)
    message = fields.String(required=True, metadata={"example": "successfully"})
    user_id = fields.String(required=True, metadata={"description": "The customer's id, as a string.", "example": "1"})


CUSTOMER_PAGE = paged(CustomerSchema)
