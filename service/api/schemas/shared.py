"""What the schemas share: how an object is refused, and how a list is paged."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

from service.api.fields import Whole

MAX_LIMIT = 1_000
DEFAULT_LIMIT = 10
MAX_OFFSET = 1_000_000_000


class Input(Schema):
    """A body or a query, refused in one clear sentence."""

    error_messages = {"type": "must be a JSON object", "unknown": "unknown field"}  # noqa: RUF012


class Page(Input):
    """Which rows of a list: `limit` of them, after the first `offset`."""

    limit = Whole(
        1,
        MAX_LIMIT,
        load_default=DEFAULT_LIMIT,
        metadata={"description": "How many rows (Giới hạn số lượng record trả về).", "example": 10},
    )
    offset = Whole(
        0,
        MAX_OFFSET,
        load_default=0,
        metadata={"description": "After how many rows to begin (Vị trí record bắt đầu query).", "example": 0},
    )


class ErrorSchema(Schema):
    """What every failure looks like."""

    error = fields.String(required=True, metadata={"description": "One sentence; stable, fit to be matched on."})


def paged(row: type[Schema], **metadata: Any) -> Schema:
    """The answer of a list of such rows."""
    shape: dict[str, fields.Field[Any]] = {
        "data": fields.List(fields.Nested(row), required=True),
        "limit": fields.Integer(required=True),
        "offset": fields.Integer(required=True),
        "total": fields.Integer(required=True, metadata={"description": "How many there are in all."}),
    }
    return Schema.from_dict(shape, name=f"{row.__name__.removesuffix('Schema')}Page")(**metadata)
