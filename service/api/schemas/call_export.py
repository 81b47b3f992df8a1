"""Exports of calls: what is asked, and what is answered."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

from service.api.fields import Moment, TrueOrFalse, WholeNumber
from service.api.schemas.call import WHEN, NarrowedDown
from service.api.schemas.shared import Page, paged
from service.calls.call import LONGEST_SECONDS
from service.calls.export import Status

_ID = "4b1d5c9e-0f0a-4a56-9d3c-6a1f2e7c8b90"
_PATH = f"/v1/call/export/{_ID}"


class ExportRequest(NarrowedDown):
    """Which calls: those of a period of any length, both ends inclusive, in either order."""

    start_date = Moment(
        required=True,
        error_messages={"required": "is required"},
        metadata={"description": f"One end of the period: {WHEN}", "example": "2021-01-01 00:00:00"},
    )
    end_date = Moment(
        required=True,
        error_messages={"required": "is required"},
        metadata={"description": f"The other end: {WHEN}", "example": "2021-12-31 23:59:59"},
    )
    min_duration = WholeNumber(
        0, LONGEST_SECONDS, metadata={"description": "Only calls that lasted so many seconds, or more.", "example": 1}
    )
    unmatched = TrueOrFalse(
        metadata={"description": "true: only calls whose customer is not known, which nobody was charged for."}
    )


class ExportQuery(Page):
    """Which page of the exports."""


class ExportSchema(Schema):
    """An export: which calls, and how far it is."""

    id = fields.String(required=True, metadata={"description": "The export's id.", "example": _ID})
    export = fields.String(required=True, metadata={"description": "Its path, to ask how far it is.", "example": _PATH})
    status = fields.String(required=True, metadata={"enum": list(Status)})
    progress = fields.Float(required=True, metadata={"description": "From 0 to 1.", "example": 0.25})
    total = fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "How many calls are looked at; null: not counted yet.", "example": 1_200_000},
    )
    written = fields.Integer(
        required=True, metadata={"description": "How many calls are in the file by now.", "example": 300_000}
    )
    size = fields.Integer(required=True, metadata={"description": "Bytes of the file by now.", "example": 7_430_112})
    download = fields.String(
        required=True, allow_none=True, metadata={"description": "The path of the file; null: it is not done."}
    )
    error = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Why it failed: `internal`, `database` or `cut short`.", "example": None},
    )
    start_date = fields.DateTime(required=True, metadata={"example": "2021-01-01T00:00:00Z"})
    end_date = fields.DateTime(required=True, metadata={"example": "2021-12-31T23:59:59Z"})
    source = fields.String(required=True, allow_none=True)
    customer_id = fields.String(required=True, allow_none=True, metadata={"example": "1"})
    destination = fields.String(required=True, allow_none=True)
    disposition = fields.String(required=True, allow_none=True)
    min_duration = fields.Integer(required=True, allow_none=True)
    unmatched = fields.Boolean(required=True)
    created_at = fields.DateTime(required=True, metadata={"example": "2022-01-03T08:00:00.123456Z"})
    finished_at = fields.DateTime(required=True, allow_none=True)
    expires_at = fields.DateTime(
        required=True, allow_none=True, metadata={"description": "Until when the file is kept, once there is one."}
    )


EXPORT_PAGE = paged(ExportSchema)

ASKED: dict[str, Any] = {
    "id": _ID,
    "export": _PATH,
    "status": "pending",
    "progress": 0,
    "total": None,
    "written": 0,
    "size": 0,
    "download": None,
    "error": None,
    "start_date": "2021-01-01T00:00:00Z",
    "end_date": "2021-12-31T23:59:59Z",
    "source": None,
    "customer_id": None,
    "destination": None,
    "disposition": None,
    "min_duration": None,
    "unmatched": False,
    "created_at": "2022-01-03T08:00:00.123456Z",
    "finished_at": None,
    "expires_at": None,
}
DONE: dict[str, Any] = {
    **ASKED,
    "status": "done",
    "progress": 1,
    "total": 1_200_000,
    "written": 1_200_000,
    "size": 29_713_344,
    "download": f"{_PATH}/download",
    "finished_at": "2022-01-03T08:01:40.654321Z",
    "expires_at": "2022-01-10T08:01:40.654321Z",
}
PAGE: dict[str, Any] = {"data": [DONE], "limit": 10, "offset": 0, "total": 1}
