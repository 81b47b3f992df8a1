"""How bodies and queries are read: strictly, and with one sentence for whatever is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from flask import Flask, Request, current_app, request
from flask_smorest import Blueprint as SmorestBlueprint
from marshmallow import RAISE, Schema, ValidationError
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge, UnsupportedMediaType

from service.api import exact_json
from service.errors import Invalid

NOT_JSON = "body: not valid JSON"
LIMIT = "PBX_MAX_BODY_BYTES"
LONGEST_ECHO = 50  # characters of a caller's own field name that an error repeats


class StrictParser(FlaskParser):
    """Refuses unknown fields, wrong content types and broken JSON."""

    DEFAULT_UNKNOWN_BY_LOCATION = {"query": RAISE, "json": RAISE}  # noqa: RUF012  webargs reads it from the class

    def load_json(self, req: Request, schema: Schema) -> Any:
        """The body, exactly: numbers with a point as Decimal."""
        if getattr(schema, "may_be_left_out", False) and not req.mimetype and not read_body(req):
            return {}
        if not req.is_json:
            raise UnsupportedMediaType
        try:
            return exact_json.loads(read_body(req))
        except ValueError as error:
            raise Invalid(f"body: {error}" if isinstance(error, exact_json.DuplicateKey) else NOT_JSON) from None

    def handle_error(self, error: ValidationError, *_: Any, **__: Any) -> NoReturn:
        """Answer 400 with the first thing that is wrong, named by its field."""
        location = next(iter(error.messages_dict.values()))
        raise Invalid(sentence_of(location if isinstance(location, dict) else {"_schema": location})) from None


def register(app: Flask, max_body_bytes: int) -> None:
    """Hold every request under /v1 to what it may carry."""
    # One more than allowed: a chunked body is cut at this length without a word, and that must show.
    app.config["MAX_CONTENT_LENGTH"] = max_body_bytes + 1
    app.config[LIMIT] = max_body_bytes
    app.before_request(_refuse_what_would_be_ignored)


def _refuse_what_would_be_ignored() -> None:
    """A parameter that nobody reads, or a safety header that nobody honours, must not look as if it worked."""
    view = current_app.view_functions.get(request.endpoint or "")
    if view is None or not request.path.startswith("/v1/"):
        return
    for name, values in request.args.lists():
        if not getattr(view, "takes_query", False):
            raise Invalid(f"{name[:LONGEST_ECHO]}: unknown field")
        if len(values) > 1:
            raise Invalid(f"{name[:LONGEST_ECHO]}: given more than once")
    if "If-Match" in request.headers and not getattr(view, "honours_if_match", False):
        raise Invalid("If-Match: not supported here")


def read_body(req: Request) -> bytes:
    """The whole body, or an error: never a part of it. May be asked for twice."""
    try:
        data = req.get_data()
    except HTTPException:
        raise
    except Exception:  # whatever the server's own reader raises for a broken chunk
        raise Invalid("body: cannot be read") from None
    if len(data) > current_app.config[LIMIT]:
        raise RequestEntityTooLarge
    if req.content_length is not None and len(data) != req.content_length:
        raise Invalid("body: shorter than its Content-Length")
    return data


class Blueprint(SmorestBlueprint):
    """A blueprint that parses strictly."""

    ARGUMENTS_PARSER = StrictParser()

    def arguments(self, schema: Schema, *, location: str = "json", **kwargs: Any) -> Callable[..., Any]:
        """As flask-smorest's; takes note of the views that read the query."""
        decorate = super().arguments(schema, location=location, **kwargs)

        def decorator(view: Callable[..., Any]) -> Callable[..., Any]:
            decorated: Callable[..., Any] = decorate(view)
            if location == "query":
                decorated.takes_query = True  # type: ignore[attr-defined]
            return decorated

        return decorator


def sentence_of(problems: dict[str, Any]) -> str:
    """`limit: must be a whole number from 1 to 1000`, from `{"limit": ["must be …"]}`."""
    field, reasons = next(iter(problems.items()))
    return f"{'body' if field == '_schema' else field[:LONGEST_ECHO]}: {_first(reasons)}"


def _first(reasons: Any) -> str:
    while isinstance(reasons, dict | list):
        reasons = next(iter(reasons.values() if isinstance(reasons, dict) else reasons))
    return str(reasons)
