"""Many changes at once."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields

from service.api.fields import Credit, PlainText, StatusName, TrueOrFalse
from service.api.schemas.change import Explained
from service.api.schemas.shared import Input

MAX_COMMANDS = 1_000
REF_LENGTH = 120


class _Command(Explained):
    customer = PlainText(
        REF_LENGTH,
        shortest=1,
        required=True,
        metadata={"description": "An id, a username or a caller id.", "example": "0906237580"},
    )


class CreditCommand(_Command):
    """Set the credit, or add to it."""

    type = fields.String(required=True, metadata={"enum": ["set", "add"]})
    credit = Credit(required=True, metadata={"description": "The new credit, or what to add.", "example": 50})


class StatusCommand(_Command):
    """Set the status."""

    type = fields.String(required=True, metadata={"enum": ["status"]})
    status = StatusName(required=True, metadata={"description": "The new status.", "example": "active"})


COMMANDS: dict[str, Schema] = {"set": CreditCommand(), "add": CreditCommand(), "status": StatusCommand()}


class CommandList(fields.Field[list[Any]]):
    """A list of commands, each of which is looked at by itself: a bad one must not fail its neighbours."""

    default_error_messages = {"required": "is required", "null": "must be a list"}  # noqa: RUF012

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> list[Any]:
        if not isinstance(value, list):
            raise ValidationError("must be a list")
        if not 1 <= len(value) <= MAX_COMMANDS:
            raise ValidationError(f"must hold 1 to {MAX_COMMANDS} commands")
        return value


class BulkRequest(Input):
    """Up to a thousand commands."""

    commands = CommandList(
        required=True,
        metadata={
            "description": "Each `{type: set | add, customer, credit}` or `{type: status, customer, status}`, with "
            "`reason` and `reference` if you like.",
            "minItems": 1,
            "maxItems": MAX_COMMANDS,
            "items": {
                "type": "object",
                "required": ["type", "customer"],
                "properties": {
                    "type": {"type": "string", "enum": [*COMMANDS]},
                    "customer": {"type": "string", "minLength": 1, "maxLength": REF_LENGTH},
                    "credit": {"type": "number"},
                    "status": {"type": "string", "enum": ["active", "expired", "cancelled", "suspended"]},
                    "reason": {"type": ["string", "null"]},
                    "reference": {"type": ["string", "null"]},
                },
            },
            "example": [{"type": "add", "customer": "0906237580", "credit": 50}],
        },
    )
    atomic = TrueOrFalse(load_default=False, metadata={"description": "Carry out all of them or none."})


class BulkOutcome(Schema):
    """What became of one command: what a change answers, or an error."""

    status = fields.Integer(required=True, metadata={"description": "As the HTTP status of such a change alone."})
    id = fields.String(metadata={"description": "The customer's id, as a string.", "example": "1"})
    message = fields.String(metadata={"example": "successfully"})
    credit = fields.Float(metadata={"description": "The new credit."})
    event_id = fields.String(metadata={"description": "The ledger event.", "example": "evt_1_42"})
    error = fields.String(metadata={"description": "Why it was refused."})


class BulkAnswer(Schema):
    """The outcomes, in the order of the commands."""

    data = fields.List(fields.Nested(BulkOutcome), required=True)
    succeeded = fields.Integer(required=True)
    failed = fields.Integer(required=True)
