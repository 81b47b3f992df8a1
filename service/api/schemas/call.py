"""Call records."""

from __future__ import annotations

from marshmallow import Schema, fields

from service.api.fields import Moment, PlainText
from service.api.schemas.shared import Page, paged

_WHEN = "`YYYY-MM-DD HH:MM:SS` in the configured time zone, or RFC 3339 (Tìm kiếm call log theo khoảng thời gian)."


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


class CallQuery(Page):
    """A page of the calls of a period: at most 31 days, both ends inclusive, in either order; or today."""

    start_date = Moment(metadata={"description": f"One end of the period: {_WHEN}", "example": "2021-06-01 00:00:00"})
    end_date = Moment(metadata={"description": f"The other end: {_WHEN}", "example": "2021-06-05 00:00:00"})
    source = PlainText(
        100,
        metadata={"description": "The calling number, exactly (Đầu số thực hiện cuộc gọi).", "example": "0899123456"},
    )


CALL_PAGE = paged(CallSchema)
