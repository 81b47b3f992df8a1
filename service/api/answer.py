"""Answers: JSON by hand, because a schema dump of a page costs more than the query behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, TypeVar

from flask import Response

from service.api.exact_json import dumps
from service.clock import rfc3339

Row = TypeVar("Row")


def answer(body: Any, status: int = 200) -> Response:
    """A JSON response."""
    return Response(dumps(body), status, mimetype="application/json")


def secret_answer(body: Any) -> Response:
    """A JSON response that shows a secret or a token: nothing on the way may keep it (RFC 6749, 5.1)."""
    response = answer(body)
    response.headers["Cache-Control"] = "no-store"
    return response


def page(rows: Iterable[Row], dump: Callable[[Row], Any], query: dict[str, Any], total: int) -> Response:
    """A page of a list, as the reference has it."""
    return answer(
        {"data": [dump(row) for row in rows], "limit": query["limit"], "offset": query["offset"], "total": total}
    )


def moment(value: datetime | None) -> str | None:
    """A moment as RFC 3339 in UTC, or null."""
    return None if value is None else rfc3339(value)


def flag(value: bool) -> str:
    """A2Billing's way to say yes and no."""
    return "t" if value else "f"
