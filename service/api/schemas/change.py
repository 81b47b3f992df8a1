"""Changes of credit, status and limits, and holds: what is asked, and what is answered."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validates_schema

from service.api.fields import Amount, Credit, PlainText, StatusName, WholeNumber
from service.api.schemas.shared import Input

REASON_LENGTH = 255
REFERENCE_LENGTH = 64
LONGEST_HOLD = 30 * 24 * 3600  # seconds: longer than any call, and than most disputes
_EXACT = "Exact, at most 5 decimals."
_ID = {"description": "The customer's id, as a string.", "example": "1"}
_MESSAGE = {"example": "successfully"}


class Explained(Input):
    """What may be said about any change."""

    reason = PlainText(
        REASON_LENGTH,
        load_default=None,
        allow_none=True,
        metadata={"description": "Why; kept on the event for good.", "example": "top-up 4711"},
    )
    reference = PlainText(
        REFERENCE_LENGTH,
        shortest=1,
        load_default=None,
        allow_none=True,
        metadata={
            "description": "A payment's own number: each can be used once, for good. A second use answers 409 and "
            "names the first event.",
            "example": "INV-2021-0042",
        },
    )


class CreditChange(Explained):
    """The credit that a customer should have."""

    credit = Credit(
        required=True,
        metadata={"description": "The new credit (Số dư mới của khách hàng).", "example": 12},
    )


class CreditAddition(Explained):
    """What to add to a customer's credit."""

    credit = Credit(
        required=True,
        metadata={
            "description": "Added to what is there (Số tiền cộng thêm); negative takes away, not below the floor.",
            "example": 50,
        },
    )


class StatusChange(Explained):
    """The status that a customer should have."""

    status = StatusName(
        required=True,
        metadata={"description": "The new status (Trạng thái mới của khách hàng).", "example": "active"},
    )


class LimitChange(Explained):
    """The limits that a customer should have. One that is not named stays; null takes one away."""

    credit_limit = Amount(
        allow_none=True,
        zero=True,
        metadata={"description": "How far below zero the credit may be taken.", "example": 100},
    )
    credit_notification = Credit(
        allow_none=True,
        metadata={"description": "Credit below this is low: `customer.credit.low` is sent once.", "example": 5},
    )

    @validates_schema
    def _names_one(self, data: dict[str, Any], **_: Any) -> None:
        if not data.keys() & {"credit_limit", "credit_notification"}:
            raise ValidationError("credit_limit or credit_notification is required", "credit_limit")


class HoldRequest(Explained):
    """Credit to put aside."""

    amount = Amount(required=True, metadata={"description": "How much to hold.", "example": 20})
    expires_in = WholeNumber(
        1,
        LONGEST_HOLD,
        required=True,
        metadata={"description": "Seconds after which the hold ends by itself.", "example": 600},
    )


class CaptureRequest(Explained):
    """How much of a hold to take; the rest is free again."""

    may_be_left_out = True

    amount = Amount(allow_none=True, load_default=None, metadata={"description": "All of it, if not given."})


class ReleaseRequest(Explained):
    """Why a hold is given up."""

    may_be_left_out = True


class ReversalRequest(Explained):
    """How much of a change to undo."""

    amount = Amount(
        allow_none=True, load_default=None, metadata={"description": "All that is left of it, if not given."}
    )
    reason = PlainText(
        REASON_LENGTH,
        shortest=1,
        required=True,
        metadata={"description": "Why; kept on the event for good.", "example": "paid twice"},
    )


class ChangeAnswer(Schema):
    """The answer to a change: exactly these two keys."""

    id = fields.String(required=True, metadata=_ID)
    message = fields.String(required=True, metadata=_MESSAGE)


class AdditionAnswer(ChangeAnswer):
    """The same, and the credit that it led to."""

    credit = fields.Float(required=True, metadata={"description": f"The new credit. {_EXACT}", "example": 62})


class LimitAnswer(ChangeAnswer):
    """The same, and what is available by the new limits."""

    available = fields.Float(required=True, metadata={"description": _EXACT, "example": 162})


class HoldSchema(Schema):
    """A hold."""

    id = fields.String(required=True, metadata={"description": "The hold's id.", "example": "hold_1_42"})
    customer_id = fields.String(required=True, metadata=_ID)
    amount = fields.Float(required=True, metadata={"description": f"What is, or was, held. {_EXACT}", "example": 20})
    captured = fields.Float(required=True, metadata={"description": f"What was taken of it. {_EXACT}", "example": 0})
    status = fields.String(required=True, metadata={"enum": ["open", "captured", "released", "expired"]})
    expires_at = fields.DateTime(required=True, metadata={"example": "2021-05-31T17:17:35Z"})


class HoldAnswer(Schema):
    """A hold that was made."""

    id = fields.String(required=True, metadata={"description": "The hold's id.", "example": "hold_1_42"})
    message = fields.String(required=True, metadata=_MESSAGE)
    customer_id = fields.String(required=True, metadata=_ID)
    amount = fields.Float(required=True, metadata={"description": f"What is held. {_EXACT}", "example": 20})
    available = fields.Float(required=True, metadata={"description": f"What is left to take. {_EXACT}", "example": 42})
    expires_at = fields.DateTime(required=True, metadata={"example": "2021-05-31T17:17:35Z"})


class ClosedHoldAnswer(Schema):
    """A hold that was captured or released."""

    id = fields.String(required=True, metadata={"description": "The hold's id.", "example": "hold_1_42"})
    message = fields.String(required=True, metadata=_MESSAGE)
    customer_id = fields.String(required=True, metadata=_ID)
    credit = fields.Float(required=True, metadata={"description": f"The customer's credit. {_EXACT}", "example": 42})
    available = fields.Float(required=True, metadata={"description": f"What is left to take. {_EXACT}", "example": 42})


class ReversalAnswer(AdditionAnswer):
    """A change that was undone."""

    event_id = fields.String(required=True, metadata={"description": "The reversal's event.", "example": "evt_1_43"})
    reverses = fields.String(required=True, metadata={"description": "The event undone.", "example": "evt_1_42"})
