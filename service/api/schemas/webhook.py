"""Webhook endpoints and their deliveries: what is asked, and what is answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields
from marshmallow.validate import Length, OneOf

from service.api.cursor import Cursor
from service.api.fields import Moment, PlainText, TrueOrFalse, Whole, WholeNumber
from service.api.schemas.event import followed
from service.api.schemas.shared import DEFAULT_LIMIT, MAX_LIMIT, Input, Page, paged
from service.errors import Invalid
from service.webhooks.again import REPLAYABLE
from service.webhooks.endpoints import KEEP_FOR, KEEP_FOR_MOST
from service.webhooks.headers import LONGEST_VALUE, MOST, check_headers
from service.webhooks.history import STATUSES
from service.webhooks.payload import EVENT_TYPES
from service.webhooks.urls import MAX_URL

DELIVERY_CURSOR = "delivery"
DESCRIPTION_LENGTH = 255
LONGEST_TYPE = 50

_TYPES = sorted(EVENT_TYPES)
_ID = {"description": "The webhook's id.", "example": "6cb86e73-990a-4821-845f-29b4ed43259e"}
_DELIVERY_ID = {"description": "The delivery's id.", "example": "01929f3e-5d5c-7a31-8a3e-1f6f0d6f2a11"}
_SECRET = {
    "description": "The signing secret. Shown this once; have a new one made if it is lost.",
    "example": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=",
}
_MOMENT = {"example": "2021-05-31T17:17:35.123456Z"}
_WHEN = "`YYYY-MM-DD HH:MM:SS` in the configured time zone, or RFC 3339."


class HeaderMap(fields.Field[dict[str, str]]):
    """Headers by name."""

    default_error_messages = {"null": "must be an object of texts"}  # noqa: RUF012

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        value = {"type": "string", "minLength": 1, "maxLength": LONGEST_VALUE}
        self.metadata = {**self.metadata, "maxProperties": MOST, "additionalProperties": value}

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, str]:
        if not isinstance(value, Mapping):
            raise ValidationError("must be an object of texts")
        try:
            check_headers(value)
        except Invalid as refusal:
            raise ValidationError(refusal.sentence.removeprefix("headers: ")) from None
        return dict(value)


class _Endpoint(Input):
    event_types = fields.List(
        fields.String(validate=OneOf(_TYPES, error=f"must be some of {', '.join(_TYPES)}")),
        allow_none=True,
        validate=Length(min=1, max=100, error="must name at least one type"),
        error_messages={"invalid": "must be a list of event types"},
        metadata={"description": "Send only these; null: all, also those to come.", "example": None},
    )
    description = PlainText(DESCRIPTION_LENGTH, metadata={"description": "For people.", "example": "billing"})
    ordered = TrueOrFalse(
        metadata={"description": "Send what is about one customer in the order of `seq`, each after the one before."}
    )
    headers = HeaderMap(
        allow_none=True,
        metadata={
            "description": "Headers to send along. Values are stored encrypted and never shown again.",
            "example": {"X-Gateway-Token": "abc"},
        },
    )


def _url(**options: Any) -> PlainText:
    return PlainText(
        MAX_URL,
        shortest=1,
        metadata={
            "description": "Where to send: https, a public address.",
            "example": "https://billing.example.com/pbx",
        },
        **options,
    )


class NewWebhook(_Endpoint):
    """A URL that wants to hear."""

    url = _url(required=True)


class WebhookChange(_Endpoint):
    """What to change about a webhook. What is not named stays."""

    url = _url()
    disabled = TrueOrFalse(
        metadata={
            "description": "true: stop sending, and keep what is or will be owed as `skipped`. false: send again."
        }
    )


class RotateRequest(Input):
    """How long the old secret signs along."""

    may_be_left_out = True

    keep_for = WholeNumber(
        0,
        KEEP_FOR_MOST,
        load_default=KEEP_FOR,
        metadata={
            "description": "Seconds that the old secret signs along; 24 hours if not given.",
            "example": KEEP_FOR,
        },
    )


class NothingMore(Input):
    """Nothing has to be said."""

    may_be_left_out = True


class ReplayRequest(Input):
    """Which deliveries to send again."""

    since = Moment(
        required=True,
        error_messages={"required": "is required"},
        metadata={"description": f"Made at this moment or later: {_WHEN}", "example": "2021-06-01 00:00:00"},
    )
    until = Moment(
        metadata={
            "description": f"Made before this moment: {_WHEN} Now, if it is not given.",
            "example": "2021-06-02 00:00:00",
        }
    )
    status = fields.String(
        validate=OneOf(REPLAYABLE, error=f"must be one of {', '.join(REPLAYABLE)}"),
        error_messages={"invalid": f"must be one of {', '.join(REPLAYABLE)}"},
        metadata={"description": "Only these; without it those that failed and those that were skipped."},
    )


class WebhookQuery(Page):
    """Which page of the webhooks."""


class DeliveryQuery(Input):
    """Which deliveries."""

    status = fields.String(
        validate=OneOf(STATUSES, error=f"must be one of {', '.join(STATUSES)}"),
        metadata={"description": "Deliveries of this status only."},
    )
    event_type = PlainText(LONGEST_TYPE, metadata={"description": "Deliveries of this type only."})
    since = Moment(metadata={"description": f"Made at this moment or later: {_WHEN}", "example": "2021-06-01 00:00:00"})
    limit = Whole(
        1, MAX_LIMIT, load_default=DEFAULT_LIMIT, metadata={"description": "How many rows.", "example": DEFAULT_LIMIT}
    )
    after = Cursor(DELIVERY_CURSOR, 3, metadata={"description": "Where to go on: `next` of the page before."})


class WebhookSchema(Schema):
    """A webhook: a URL and what it wants to hear."""

    id = fields.String(required=True, metadata=_ID)
    url = fields.String(required=True, metadata={"example": "https://billing.example.com/pbx"})
    event_types = fields.List(
        fields.String(), required=True, allow_none=True, metadata={"description": "null: all, also those to come."}
    )
    description = fields.String(required=True)
    ordered = fields.Boolean(required=True)
    headers = fields.List(
        fields.String(), required=True, metadata={"description": "The names of the headers that are sent along."}
    )
    disabled = fields.Boolean(
        required=True,
        metadata={"description": "Nothing is sent; what would be is kept as `skipped`, and can be sent again later."},
    )
    disabled_at = fields.DateTime(required=True, allow_none=True)
    disabled_reason = fields.String(required=True, allow_none=True, metadata={"example": "asked for"})
    failing_since = fields.DateTime(
        required=True, allow_none=True, metadata={"description": "Since when nothing but failures came."}
    )
    previous_secret_until = fields.DateTime(
        required=True, allow_none=True, metadata={"description": "Until when the secret before this one signs along."}
    )
    created_at = fields.DateTime(required=True, metadata=_MOMENT)


class NewWebhookAnswer(WebhookSchema):
    """The same, and its secret."""

    secret = fields.String(required=True, metadata=_SECRET)


class DeletedAnswer(Schema):
    """A webhook that was deleted."""

    id = fields.String(required=True, metadata=_ID)
    message = fields.String(required=True, metadata={"example": "successfully"})


class RotateAnswer(Schema):
    """A new secret."""

    id = fields.String(required=True, metadata=_ID)
    secret = fields.String(required=True, metadata=_SECRET)
    previous_secret_until = fields.DateTime(
        required=True, allow_none=True, metadata={"description": "Until when the old one signs along."}
    )


class DeliveryAnswer(Schema):
    """A delivery that is due, and where its outcome will be."""

    id = fields.String(required=True, metadata=_DELIVERY_ID)
    message = fields.String(required=True, metadata={"example": "successfully"})
    delivery = fields.String(required=True, metadata={"description": "The path of the delivery."})


class ReplayAnswer(Schema):
    """How many deliveries are due again."""

    replayed = fields.Integer(required=True, metadata={"description": "How many.", "example": 42})
    more = fields.Boolean(
        required=True, metadata={"description": "There are more than one call takes: call again, with another key."}
    )


class AttemptSchema(Schema):
    """One POST of a delivery."""

    number = fields.Integer(required=True, metadata={"example": 1})
    outcome = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "`delivered`, `retry`, `failed` or `abandoned`; null while it is under way."},
    )
    status_code = fields.Integer(required=True, allow_none=True, metadata={"example": 500})
    milliseconds = fields.Integer(required=True, allow_none=True, metadata={"example": 52})
    error = fields.String(
        required=True, allow_none=True, metadata={"description": "The class of failure.", "example": "status"}
    )
    started_at = fields.DateTime(required=True, metadata=_MOMENT)


class DeliverySchema(Schema):
    """A message that is, or was, owed to a webhook."""

    id = fields.String(required=True, metadata=_DELIVERY_ID)
    webhook_id = fields.String(
        required=True, metadata={"description": "The `webhook-id` that the subscriber sees.", "example": "msg_2f3c"}
    )
    event_type = fields.String(required=True, metadata={"example": "customer.credit.changed"})
    event_id = fields.String(
        required=True, allow_none=True, metadata={"description": "null: about no event.", "example": "evt_1_42"}
    )
    status = fields.String(required=True, metadata={"enum": list(STATUSES)})
    created_at = fields.DateTime(required=True, metadata=_MOMENT)
    next_attempt_at = fields.DateTime(required=True, allow_none=True, metadata=_MOMENT)
    finished_at = fields.DateTime(required=True, allow_none=True, metadata=_MOMENT)
    attempts = fields.List(fields.Nested(AttemptSchema), required=True)


class DeliveryWithBody(DeliverySchema):
    """The same, and what is sent."""

    body = fields.Dict(required=True, metadata={"description": "The message, as JSON."})


WEBHOOK_PAGE = paged(WebhookSchema)
DELIVERIES = followed(DeliverySchema)
