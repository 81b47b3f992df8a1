"""Call records."""

from __future__ import annotations

from marshmallow import Schema, fields

from service.api.cursor import Cursor
from service.api.fields import Amount, CallerIdText, Moment, OneOf, PlainText, QueryFlag, Whole, WholeNumber
from service.api.schemas.shared import Input, Page
from service.calls.call import (
    DISPOSITION_LENGTH,
    LONGEST_SECONDS,
    MAX_LEG,
    NUMBER_LENGTH,
    REF_LENGTH,
    UNIQUEID_LENGTH,
)
from service.calls.summary import GroupBy

CURSOR = "call"
MAX_CALLS = 1_000

UNMATCHED = "`true`: only calls whose customer is not known, which nobody was charged for"
WHEN = "`YYYY-MM-DD HH:MM:SS` in the configured time zone, or RFC 3339 (Tìm kiếm call log theo khoảng thời gian)."


class CallSchema(Schema):
    """A call, with exactly the reference's keys."""

    amount = fields.Float(required=True, metadata={"description": "What it cost, in credit units.", "example": 285})
    destination = fields.String(required=True, metadata={"example": "0123456789"})
    duration = fields.Integer(required=True, metadata={"description": "Seconds.", "example": 38})
    end_time = fields.DateTime(required=True, metadata={"example": "2021-06-04T21:13:37Z"})
    id = fields.Integer(required=True, metadata={"example": 42})
    source = fields.String(required=True, metadata={"example": "0899123456"})
    start_time = fields.DateTime(required=True, metadata={"example": "2021-06-04T21:12:59Z"})
    uniqueid = fields.String(required=True, metadata={"example": "1622815952.3252"})


class NarrowedDown(Input):
    """What a list of calls can be narrowed down to."""

    source = PlainText(
        NUMBER_LENGTH,
        metadata={"description": "The calling number, exactly (Đầu số thực hiện cuộc gọi).", "example": "0899123456"},
    )
    customer = PlainText(
        REF_LENGTH,
        shortest=1,
        metadata={"description": "Whose calls: an id, a username or a caller id.", "example": "0906237580"},
    )
    destination = PlainText(
        NUMBER_LENGTH, metadata={"description": "How the called number begins (Đầu số được gọi).", "example": "0123"}
    )
    disposition = PlainText(
        DISPOSITION_LENGTH, metadata={"description": "How the call ended, exactly.", "example": "ANSWERED"}
    )


class CallFilter(NarrowedDown):
    """Which calls: those of a period of at most 31 days, both ends inclusive, in either order; or of today."""

    start_date = Moment(metadata={"description": f"One end of the period: {WHEN}", "example": "2021-06-01 00:00:00"})
    end_date = Moment(metadata={"description": f"The other end: {WHEN}", "example": "2021-06-05 00:00:00"})
    min_duration = Whole(
        0, LONGEST_SECONDS, metadata={"description": "Only calls that lasted so many seconds, or more.", "example": 1}
    )
    unmatched = QueryFlag(metadata={"description": f"{UNMATCHED}."})


class CallQuery(CallFilter, Page):
    """A page of calls: by `offset`, or after a cursor."""

    unmatched = QueryFlag(metadata={"description": f"{UNMATCHED}; without dates, of any time."})
    after = Cursor(
        CURSOR,
        2,
        may_be_empty=True,
        metadata={
            "description": "Instead of `offset`: go on after this cursor, the `next` of the page before; empty: begin. "
            "Such pages stay stable while calls come in.",
        },
    )


class SummaryQuery(CallFilter, Page):
    """What to add up, and by what."""

    group_by = OneOf(
        GroupBy,
        load_default=GroupBy.DAY,
        metadata={"description": "What to add up by.", "example": "day"},
    )


class CallPage(Schema):
    """A page of calls: with `offset`, or with `next` where it was asked for by `after`."""

    data = fields.List(fields.Nested(CallSchema), required=True)
    limit = fields.Integer(required=True)
    offset = fields.Integer()
    total = fields.Integer(required=True, metadata={"description": "How many there are in all."})
    next = fields.String(
        allow_none=True, metadata={"description": "The cursor to go on after; null: there are no more."}
    )


class NewCall(Input):
    """One leg of a call. Known by `uniqueid` and `leg`: brought again, it is not charged again."""

    uniqueid = PlainText(
        UNIQUEID_LENGTH,
        shortest=1,
        required=True,
        metadata={"example": "1622815952.3252", "description": "Of the PBX."},
    )
    leg = WholeNumber(0, MAX_LEG, load_default=0, metadata={"description": "Legs of one call share a uniqueid."})
    source = PlainText(
        NUMBER_LENGTH, required=True, metadata={"description": "The calling number.", "example": "0899123456"}
    )
    destination = PlainText(
        NUMBER_LENGTH, required=True, metadata={"description": "The called number.", "example": "0123456789"}
    )
    start_time = Moment(
        required=True, metadata={"description": f"When it began: {WHEN}", "example": "2021-06-04 21:12:59"}
    )
    end_time = Moment(metadata={"description": "When it ended; `duration` will do.", "example": "2021-06-04 21:13:37"})
    duration = WholeNumber(
        0, LONGEST_SECONDS, metadata={"description": "Seconds that are charged; `end_time` will do.", "example": 38}
    )
    amount = Amount(
        zero=True, required=True, metadata={"description": "What it cost, in credit units.", "example": 285}
    )
    customer = CallerIdText(
        REF_LENGTH,
        shortest=1,
        metadata={
            "description": "Who pays: an id, a username or a caller id. Without it, who has `source` as a caller id.",
            "example": "0906237580",
        },
    )
    disposition = PlainText(DISPOSITION_LENGTH, metadata={"description": "How it ended.", "example": "ANSWERED"})


class StoredCall(Schema):
    """A call that is in the records."""

    id = fields.Integer(required=True, metadata={"description": "The call's id.", "example": 42})
    uniqueid = fields.String(required=True, metadata={"example": "1622815952.3252"})
    leg = fields.Integer(required=True, metadata={"example": 0})
    customer_id = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Who was charged; null where nobody is known.", "example": "1"},
    )
    event_id = fields.String(
        required=True, allow_none=True, metadata={"description": "The ledger event.", "example": "evt_1_42"}
    )
    duplicate = fields.Boolean(
        required=True, metadata={"description": "It was there already, and was not charged again."}
    )


class CallOutcome(Schema):
    """What became of one call of many: what a call alone is answered with, or an error."""

    status = fields.Integer(required=True, metadata={"description": "As the HTTP status of such a call alone."})
    id = fields.Integer(metadata={"example": 42})
    uniqueid = fields.String(metadata={"example": "1622815952.3252"})
    leg = fields.Integer(metadata={"example": 0})
    customer_id = fields.String(allow_none=True, metadata={"example": "1"})
    event_id = fields.String(allow_none=True, metadata={"example": "evt_1_42"})
    duplicate = fields.Boolean()
    error = fields.String(metadata={"description": "Why it was refused."})


class CallOutcomes(Schema):
    """The outcomes, in the order of the calls, and how many there are of each sort."""

    data = fields.List(fields.Nested(CallOutcome), required=True)
    stored = fields.Integer(required=True, metadata={"description": "New in the records, charged or unmatched."})
    duplicates = fields.Integer(required=True, metadata={"description": "There already."})
    unmatched = fields.Integer(required=True, metadata={"description": "Of the stored: nobody is known to charge."})
    failed = fields.Integer(required=True)


class RematchRequest(Input):
    """Which unmatched calls to look at again."""

    may_be_left_out = True

    source = PlainText(
        NUMBER_LENGTH, metadata={"description": "Only those of this calling number.", "example": "0899123456"}
    )


class RematchAnswer(Schema):
    """What could be charged now."""

    charged = fields.Integer(required=True, metadata={"description": "Calls that were charged.", "example": 3})
    failed = fields.Integer(required=True, metadata={"description": "Calls that the ledger refused.", "example": 0})
    more = fields.Boolean(required=True, metadata={"description": "There are more: ask again."})


class SumSchema(Schema):
    """Calls added up."""

    calls = fields.Integer(required=True, metadata={"description": "How many.", "example": 15})
    seconds = fields.Integer(required=True, metadata={"description": "How long.", "example": 1730})
    amount = fields.Float(required=True, metadata={"description": "How much, in credit units.", "example": 13010})


class GroupSchema(SumSchema):
    """The same of one group; it has the key that `group_by` names."""

    day = fields.String(metadata={"description": "In the configured time zone.", "example": "2021-06-01"})
    customer = fields.String(allow_none=True, metadata={"description": "A customer's id; null: not known."})
    source = fields.String()
    destination = fields.String()


class SummaryPage(Schema):
    """A page of the groups, and what all calls come to."""

    data = fields.List(fields.Nested(GroupSchema), required=True)
    limit = fields.Integer(required=True)
    offset = fields.Integer(required=True)
    total = fields.Integer(required=True, metadata={"description": "How many groups there are in all."})
    sum = fields.Nested(SumSchema, required=True)
