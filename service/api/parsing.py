"""How bodies and queries are read: strictly, and with one sentence for whatever is wrong."""

from __future__ import annotations

from typing import Any, NoReturn

from flask import Request
from flask_smorest import Blueprint as SmorestBlueprint
from marshmallow import RAISE, Schema, ValidationError
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import UnsupportedMediaType

from service.api import exact_json
from service.errors import Invalid


class StrictParser(FlaskParser):
    """Refuses unknown fields, wrong content types and broken JSON."""

    DEFAULT_UNKNOWN_BY_LOCATION = {"query": RAISE, "json": RAISE}  # noqa: RUF012  webargs reads it from the class

    def load_json(self, req: Request, schema: Schema) -> Any:  # noqa: ARG002
        """The body, exactly: numbers with a point as Decimal."""
        if not req.is_json:
            raise UnsupportedMediaType
        try:
            return exact_json.loads(req.get_data(cache=False))
        except ValueError:
            raise Invalid("body: not valid JSON") from None

    def handle_error(self, error: ValidationError, *_: Any, **__: Any) -> NoReturn:
        """Answer 400 with the first thing that is wrong, named by its field."""
        raise Invalid(_sentence(error.messages_dict)) from None


class Blueprint(SmorestBlueprint):
    """A blueprint that parses strictly."""

    ARGUMENTS_PARSER = StrictParser()


def _sentence(messages: dict[str, Any]) -> str:
    """`limit: must be a whole number from 1 to 1000`, from `{"query": {"limit": ["must be …"]}}`."""
    problems = next(iter(messages.values()))
    if not isinstance(problems, dict):
        return f"body: {_first(problems)}"
    field, reasons = next(iter(problems.items()))
    return f"{'body' if field == '_schema' else field}: {_first(reasons)}"


def _first(reasons: Any) -> str:
    while isinstance(reasons, dict | list):
        reasons = next(iter(reasons.values() if isinstance(reasons, dict) else reasons))
    return str(reasons)
