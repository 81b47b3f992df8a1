"""The one place where errors get HTTP status codes, and the one shape that they all have: `{"error": "<sentence>"}`."""

from __future__ import annotations

import structlog
from flask import Flask, Response
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge, UnsupportedMediaType

from service import errors
from service.api.exact_json import dumps
from service.ledger.bulk import Refused

STATUS: dict[type[errors.Refusal], int] = {
    errors.Invalid: 400,
    errors.Unauthorized: 401,
    errors.MissingScope: 403,
    errors.NotFound: 404,
    errors.AmbiguousReference: 409,
    errors.AlreadyExists: 409,
    errors.Conflict: 409,
    errors.MovedOn: 412,
    errors.KeyReused: 422,
    errors.TooManyRequests: 429,
    errors.Unavailable: 503,
}

# What werkzeug's own errors say here; the rest say their name ("Not Found").
_SENTENCES = {
    RequestEntityTooLarge.code: "the request body is too large",
    UnsupportedMediaType.code: "the body must be application/json",
    500: "internal error",
}

log = structlog.get_logger()


def register(app: Flask) -> None:
    """Answer every failure of an app in the one shape."""
    app.register_error_handler(errors.Refusal, refusal_response)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _bug)


def status_of(refusal: errors.Refusal) -> int:
    """The status code of a refusal: its own class's, or the nearest above it; of a bulk its command's."""
    if isinstance(refusal, Refused):
        refusal = refusal.refusal
    return next(STATUS[cls] for cls in type(refusal).__mro__ if cls in STATUS)


def error_response(status: int, sentence: str) -> Response:
    """An error in the one shape."""
    return Response(dumps({"error": sentence}), status, mimetype="application/json")


def refusal_response(refusal: errors.Refusal) -> Response:
    """A refusal in the one shape, with the headers that go with it; a bulk's are its command's."""
    response = error_response(status_of(refusal), refusal.sentence)
    if isinstance(refusal, Refused):
        refusal = refusal.refusal
    if isinstance(refusal, errors.Unauthorized):
        response.headers["WWW-Authenticate"] = 'Bearer realm="pbx"'
    if isinstance(refusal, errors.Unavailable | errors.TooManyRequests):
        response.headers["Retry-After"] = str(refusal.retry_after)
    if isinstance(refusal, errors.MovedOn):
        response.headers["ETag"] = f'"{refusal.seq}"'
    if isinstance(refusal, errors.ReferenceTaken):
        response.headers["Ledger-Event"] = refusal.event_id
    if isinstance(refusal, errors.Unavailable):
        log.warning("unavailable", error=str(refusal.__cause__ or refusal).splitlines()[0])
    return response


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    response = error_response(status, _SENTENCES.get(status, error.name))
    for name, value in error.get_headers():
        if name.lower() not in {"content-type", "content-length"}:
            response.headers[name] = value  # Allow, Retry-After, WWW-Authenticate
    return response


def _bug(error: Exception) -> Response:
    log.exception("bug", error=type(error).__name__)
    return error_response(500, _SENTENCES[500])
