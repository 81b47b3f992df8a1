"""`/openapi.json` and `/docs`: the contract, complete by construction, and a page to read it that needs no network.

flask-smorest writes what the routes declare; `_complete` adds to each operation the failures that follow from what it
is (guarded, with a body, with a reference), so that no route can forget one.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Flask, Response, redirect
from flask_smorest import Api
from flask_swagger_ui import get_swaggerui_blueprint
from werkzeug.wrappers import Response as BaseResponse

from service.api import fields
from service.api.exact_json import dumps
from service.api.guard import SCHEME
from service.api.reference import ReferenceConverter
from service.api.schemas.shared import ErrorSchema

TITLE = "PBX API"
VERSION = "1.0.3"  # of the API that this service speaks, not of the service
DESCRIPTION = """\
The PBX API in front of an event-driven credit ledger: tokens, customers, credit, status and call logs.

Đây là bộ API tích hợp của hệ thống billing. Tất cả các API của PBX đều yêu cầu user cung cấp Token trong header:
`Authorization: Bearer {TOKEN}`.

Every failure is `{"error": "<one sentence>"}`. Every answer carries `X-Request-Id`.
"""

# The sentences of each failure. They are stable: a caller may match on them.
SENTENCES: dict[int, tuple[str, ...]] = {
    400: (
        "body: not valid JSON",
        "body: a key is given more than once",
        "Idempotency-Key: not supported by this version",
        "credit: at most 10 digits before the point and 5 after",
        "limit: must be a whole number from 1 to 1000",
        "status: must be one of active, expired, cancelled, suspended",
        "date range must be in 31 days",
    ),
    401: ("Unauthorized",),
    403: ("this API key lacks the scope credit:write",),
    404: ("customer not found", "Not Found"),
    405: ("Method Not Allowed",),
    409: ("'0123456787' means more than one customer: say id:…, username:… or caller_id:…",),
    413: ("the request body is too large",),
    415: ("the body must be application/json",),
    429: ("too many requests, slow down",),
    500: ("internal error",),
    503: (
        "the service is temporarily unavailable, try again",
        "the database went away before it answered: the change may have been made, read it back",
    ),
}
_MEANING = {
    400: "A parameter or the body is wrong; the sentence names the field and the reason.",
    401: "No token, or one that is not good (any more).",
    403: "The API key lacks the scope of this route.",
    404: "There is no such thing, or it belongs to another client.",
    405: "Not with this method; `Allow` says which.",
    409: "The reference means two different customers.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    429: "Too many requests; `Retry-After` says when to come back.",
    500: "A bug of the service.",
    503: "The database is away or too busy; nothing was changed, or the same request may be sent again.",
}
_HEADERS = {401: "WWW-Authenticate", 405: "Allow", 429: "Retry-After", 503: "Retry-After"}


def make_api(app: Flask) -> Api:
    """The collector of blueprints and their docs."""
    app.config |= {"API_TITLE": TITLE, "API_VERSION": VERSION, "OPENAPI_VERSION": "3.1.0"}
    api = _Api()
    app.url_map.converters["ref"] = ReferenceConverter
    api.init_app(
        app,
        spec_kwargs={
            "info": {"description": DESCRIPTION},
            "servers": [{"url": "/"}],
        },
    )
    api.register_converter(ReferenceConverter, _describe_reference)
    for field, kind in (
        (fields.Credit, "number"),
        (fields.QueryCredit, "number"),
        (fields.Whole, "integer"),
        (fields.PlainText, "string"),
        (fields.StatusName, "string"),
        (fields.StatusFilter, "string"),
        (fields.Moment, "string"),
    ):
        api.register_field(field, kind, None)
    api.spec.components.security_scheme(SCHEME, {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})
    return api


def serve(app: Flask, api: Api) -> None:
    """Add `/openapi.json` and `/docs`, once every route is there."""
    document = dumps(complete(api.spec.to_dict()))
    blueprint = Blueprint("openapi", __name__)

    @blueprint.get("/openapi.json")
    def openapi() -> Response:
        return Response(document, mimetype="application/json")

    @blueprint.get("/docs")
    def docs() -> BaseResponse:
        return redirect("/docs/")

    app.register_blueprint(blueprint)
    app.register_blueprint(get_swaggerui_blueprint("/docs", "/openapi.json", config={"app_name": TITLE}))


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Give every operation the failures that follow from what it is."""
    document["components"].pop("responses", None)
    for path, item in document["paths"].items():
        for operation in (item[method] for method in item if method != "parameters"):
            responses = operation["responses"]
            for status in [status for status in responses if not status.startswith("2")]:
                del responses[status]
            for code in _failures(path, operation):
                responses[str(code)] = _failure(code)
    return document


class _Api(Api):
    """flask-smorest without its error handler: `service.api.errors` shapes every failure."""

    ERROR_SCHEMA = ErrorSchema

    def _register_error_handlers(self) -> None:
        pass


def _failures(path: str, operation: dict[str, Any]) -> list[int]:
    codes = [400, 401, 405, 429, 500, 503]
    if operation.get("security"):
        codes.append(403)
    if "{" in path:
        codes += [404, 409]
    if "requestBody" in operation:
        codes += [413, 415]
    return sorted(codes)


def _failure(code: int) -> dict[str, Any]:
    examples = {f"{code}-{n}": {"value": {"error": text}} for n, text in enumerate(SENTENCES[code], 1)}
    answer: dict[str, Any] = {
        "description": _MEANING[code],
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}, "examples": examples}},
    }
    if code in _HEADERS:
        answer["headers"] = {_HEADERS[code]: {"schema": {"type": "string"}}}
    return answer


def _describe_reference(_: ReferenceConverter) -> dict[str, Any]:
    return {
        "type": "string",
        "description": "An id, a username or a caller id (Id hoặc username hoặc 1 trong các caller_id của khách hàng); "
        "`id:…`, `username:…` or `caller_id:…` says which.",
        "example": "0906237580",
    }
