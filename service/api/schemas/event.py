"""Events, the change log, balances, and the queries for them."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields
from marshmallow.validate import OneOf

from service.api.cursor import Cursor
from service.api.fields import Moment, PlainText, Whole
from service.api.reference import LONGEST
from service.api.schemas.shared import DEFAULT_LIMIT, MAX_LIMIT, Input
from service.ledger.event import Kind

STATEMENT_CURSOR, LOG_CURSOR, FEED_CURSOR = "statement", "log", "feed"
KINDS = [kind.value for kind in Kind]

_CREDIT = {"description": "Credit units; exact, at most 5 decimals.", "example": 25.5}
_STATUS = {"description": "The PBX's code, 0 to 8.", "minimum": 0, "maximum": 8, "example": 1}
_SEQ = {"description": "The event's number in its customer's stream: 1, 2, 3 …", "example": 42}
_EVENT_ID = {"description": "The event's id.", "example": "evt_1_42"}
_WHO = {"description": "Who asked: an API key, or `system`.", "example": "key:7"}
_WHEN = "`YYYY-MM-DD HH:MM:SS` in the configured time zone, or RFC 3339."
_MOMENT = {"example": "2021-05-31T17:17:35.123456Z"}


def _money(**more: Any) -> fields.Float:
    return fields.Float(required=True, **more, metadata=_CREDIT)


class EventSchema(Schema):
    """An event, as it was written: nothing in it ever changes."""

    event_id = fields.String(required=True, metadata=_EVENT_ID)
    customer_id = fields.Integer(required=True, metadata={"example": 1})
    seq = fields.Integer(required=True, metadata=_SEQ)
    kind = fields.String(required=True, metadata={"enum": KINDS, "example": "credit.added"})
    amount = fields.Float(
        required=True,
        allow_none=True,
        metadata={"description": "What was asked for, in credit units.", "example": 10},
    )
    delta = fields.Float(
        required=True, metadata={"description": "What it came to: balance_after less balance_before.", "example": 10}
    )
    balance_before = _money()
    balance_after = _money()
    held = fields.Float(
        required=True, metadata={"description": "How much of the balance is put aside by holds.", "example": 0}
    )
    creditlimit = fields.Float(
        required=True,
        allow_none=True,
        metadata={"description": "How far below zero the customer may go; null is no limit set.", "example": None},
    )
    status = fields.Integer(required=True, metadata=_STATUS)
    reason = fields.String(required=True, allow_none=True, metadata={"example": "nạp tiền"})
    reference = fields.String(
        required=True, allow_none=True, metadata={"description": "The payment's own number.", "example": "VCB-4711"}
    )
    refers_to = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The event that this one is about: a hold, a change that is reversed."},
    )
    detail = fields.Dict(
        required=True, allow_none=True, metadata={"description": "What else there is to say, by kind of event."}
    )
    actor = fields.String(required=True, metadata=_WHO)
    request_id = fields.String(required=True, allow_none=True)
    idempotency_key = fields.String(required=True, allow_none=True)
    recorded_at = fields.DateTime(required=True, metadata=_MOMENT)


class FeedEventSchema(EventSchema):
    """An event, and its place in the feed."""

    cursor = fields.String(
        required=True, metadata={"description": "Give it back as `after` to go on behind this event."}
    )


class ChangeSchema(Schema):
    """An event that has been applied, and what it changed."""

    event_id = fields.String(required=True, metadata=_EVENT_ID)
    customer_id = fields.Integer(required=True, metadata={"example": 1})
    seq = fields.Integer(required=True, metadata=_SEQ)
    kind = fields.String(required=True, metadata={"enum": KINDS, "example": "credit.added"})
    credit_before = _money()
    credit_after = _money()
    status_before = fields.Integer(required=True, metadata=_STATUS)
    status_after = fields.Integer(required=True, metadata=_STATUS)
    actor = fields.String(required=True, metadata=_WHO)
    reason = fields.String(required=True, allow_none=True)
    reference = fields.String(required=True, allow_none=True)
    recorded_at = fields.DateTime(required=True, metadata=_MOMENT)
    applied_at = fields.DateTime(
        required=True,
        metadata={"description": "When a worker brought it into the table of customers.", **_MOMENT},
    )


class BalanceSchema(Schema):
    """What a customer has at a moment."""

    id = fields.String(required=True, metadata={"description": "The customer's id, as a string.", "example": "1"})
    credit = _money()
    held = fields.Float(required=True, metadata={"description": "Put aside by holds.", "example": 0})
    creditlimit = fields.Float(required=True, allow_none=True)
    available = fields.Float(
        required=True, metadata={"description": "credit less held, and the limit on top.", "example": 25.5}
    )
    credit_notification = fields.Float(
        allow_none=True,
        metadata={"description": "Below this, credit counts as low. Only without `at`: events do not hold it."},
    )
    status = fields.Integer(required=True, metadata=_STATUS)
    seq = fields.Integer(required=True, metadata={"description": "The last event that it counts in.", "example": 42})
    at = fields.DateTime(required=True, metadata=_MOMENT)


class BalanceQuery(Input):
    """Now, or a moment."""

    at = Moment(metadata={"description": f"A moment: {_WHEN}", "example": "2021-06-01 00:00:00"})


class _PlaceQuery(Input):
    """How many rows. No default here: it is one for pages, and none for CSV."""

    limit = Whole(
        1,
        MAX_LIMIT,
        metadata={
            "description": f"How many rows; {DEFAULT_LIMIT} if it is not given, as CSV all of them.",
            "example": DEFAULT_LIMIT,
        },
    )


class _StretchQuery(_PlaceQuery):
    start_date = Moment(
        metadata={"description": f"Recorded at this moment or later: {_WHEN}", "example": "2021-06-01 00:00:00"}
    )
    end_date = Moment(
        metadata={
            "description": f"Recorded at this moment or earlier: {_WHEN} The two are swapped where they are the wrong "
            "way round.",
            "example": "2021-07-01 00:00:00",
        }
    )
    kind = fields.String(
        validate=OneOf(KINDS, error=f"must be one of {', '.join(KINDS)}"),
        metadata={"description": "Events of this kind only."},
    )
    order = fields.String(
        load_default="desc",
        validate=OneOf(["asc", "desc"], error="must be asc or desc"),
        metadata={"description": "Newest first (`desc`) or oldest first (`asc`)."},
    )


def _after(of: str, length: int) -> Cursor:
    return Cursor(of, length, metadata={"description": "Where to go on: `next` of the page before."})


class StatementQuery(_StretchQuery):
    """Which events of a customer."""

    after = _after(STATEMENT_CURSOR, 1)


class LogQuery(_StretchQuery):
    """Which rows of a customer's change log."""

    after = _after(LOG_CURSOR, 1)


class FeedQuery(_PlaceQuery):
    """Which events of the client."""

    after = Cursor(
        FEED_CURSOR,
        3,
        metadata={"description": "Where to go on: `next` of the page before, or `cursor` of the last event seen."},
    )
    kind = fields.String(
        validate=OneOf(KINDS, error=f"must be one of {', '.join(KINDS)}"),
        metadata={"description": "Events of this kind only."},
    )
    customer = PlainText(
        LONGEST, metadata={"description": "Events of this customer only: an id, a username or a caller id."}
    )


def followed(row: type[Schema]) -> Schema:
    """The answer of a list that is read from a place on."""
    shape: dict[str, fields.Field[Any]] = {
        "data": fields.List(fields.Nested(row), required=True),
        "next": fields.String(
            required=True,
            allow_none=True,
            metadata={"description": "Give it back as `after` for the next page; null where there is none (now)."},
        ),
    }
    return Schema.from_dict(shape, name=f"{row.__name__.removesuffix('Schema')}List")()


STATEMENT = followed(EventSchema)
CHANGE_LOG = followed(ChangeSchema)
FEED = followed(FeedEventSchema)
