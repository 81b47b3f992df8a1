"""`/openapi.json` and `/docs`: the contract, complete by construction, and a page to read it that needs no network.

flask-smorest writes what the routes declare; `_complete` adds to each operation the failures that follow from what it
is (guarded, with a body, with a reference), so that no route can forget one.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Flask, Response, redirect
from flask_smorest import Api
from flask_swagger_ui import get_swaggerui_blueprint
from marshmallow.fields import Field
from werkzeug.wrappers import Response as BaseResponse

from service.api import fields
from service.api.cursor import Cursor
from service.api.exact_json import dumps
from service.api.guard import IF_MATCH, ONCE, SCHEME
from service.api.reference import (
    CallerIdConverter,
    DeliveryIdConverter,
    EventIdConverter,
    ExportIdConverter,
    HoldIdConverter,
    ReferenceConverter,
    WebhookIdConverter,
)
from service.api.schemas.bulk import CommandList
from service.api.schemas.shared import ErrorSchema
from service.api.schemas.webhook import HeaderMap

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
        "Idempotency-Key: must be 1 to 255 visible ASCII characters",
        'If-Match: must be one ETag, such as "42"',
        "If-Match: not supported here",
        "credit: at most 10 digits before the point and 5 after",
        "limit: must be a whole number from 1 to 1000",
        "status: must be one of active, expired, cancelled, suspended",
        "date range must be in 31 days",
        "duration: is required where there is no end_time",
        "body: must hold 1 to 1000 calls",
        "after: not a cursor of this list",
        "url must begin with https://",
        "headers: Host cannot be set",
    ),
    401: ("Unauthorized",),
    403: ("this API key lacks the scope credit:write",),
    404: (
        "customer not found",
        "caller id not found",
        "hold not found",
        "event not found",
        "webhook not found",
        "delivery not found",
        "export not found",
        "the customer did not exist at that time",
        "Not Found",
    ),
    405: ("Method Not Allowed",),
    409: (
        "'0123456787' means more than one customer: say id:…, username:… or caller_id:…",
        "insufficient credit",
        "reference 'INV-2021-0042' was used already, by evt_1_42",
        "username is taken already",
        "cid is taken already",
        "hold_1_42 was captured already",
        "hold_1_42 has expired",
        "evt_1_42 cannot be reversed by more than is left of it",
        "evt_1_42 cannot be reversed",
        "the webhook is disabled",
        "the delivery is pending already",
        "what was kept encrypted cannot be read with the keys that are set now",
        "the balance would have more than 10 digits before the point",
        "uniqueid '1622815952.3252', leg 0: another call is known by it already",
        "a client can have 20 webhooks at most",
        "the export is not done yet",
        "the export has failed",
        "a client can have 10 unfinished exports at most",
        "Idempotency-Key: the first request with it is still in flight",
    ),
    412: ("the customer has changed since: read it again",),
    413: ("the request body is too large",),
    415: ("the body must be application/json",),
    422: ("Idempotency-Key: used already for another request",),
    429: ("too many requests, slow down",),
    500: ("internal error",),
    503: (
        "the service is temporarily unavailable, try again",
        "the database went away before it answered: the change may have been made, read it back",
        "the database went away before it answered: ask again with the same Idempotency-Key",
    ),
}
_MEANING = {
    400: "A parameter or the body is wrong; the sentence names the field and the reason.",
    401: "No token, or one that is not good (any more).",
    403: "The API key lacks the scope of this route.",
    404: "There is no such thing, or it belongs to another client.",
    405: "Not with this method; `Allow` says which.",
    409: "The state of things does not allow it.",
    412: "Somebody has changed it since; `ETag` says where it is now.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The Idempotency-Key was used for another request.",
    429: "Too many requests; `Retry-After` says when to come back.",
    500: "A bug of the service.",
    503: "The database is away or too busy; nothing was changed, or the same request may be sent again.",
}
_HEADER_OF = {
    ONCE: {
        "in": "header",
        "name": "Idempotency-Key",
        "description": "A text of your own for this request, kept for 30 days at least: sent again with the same body, "
        "it is answered again and not carried out again.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    },
    IF_MATCH: {
        "in": "header",
        "name": "If-Match",
        "description": "The ETag of the state that you go by: carried out only if nobody has changed it since.",
        "schema": {"type": "string", "pattern": '^"[0-9]{1,18}"$'},
    },
}
_HEADERS = {401: "WWW-Authenticate", 405: "Allow", 429: "Retry-After", 503: "Retry-After"}


# What our own fields look like in JSON.
_FIELDS: tuple[tuple[type[Field[Any]], str], ...] = (
    (fields.Credit, "number"),
    (fields.Amount, "number"),
    (fields.WholeNumber, "integer"),
    (fields.CustomerId, "string"),
    (fields.Digits, "string"),
    (fields.Flag, "string"),
    (fields.TrueOrFalse, "boolean"),
    (fields.QueryFlag, "string"),
    (fields.OneOf, "string"),
    (CommandList, "array"),
    (HeaderMap, "object"),
    (fields.QueryCredit, "number"),
    (fields.Whole, "integer"),
    (fields.PlainText, "string"),
    (fields.CallerIdText, "string"),
    (fields.StatusName, "string"),
    (fields.StatusFilter, "string"),
    (fields.Moment, "string"),
    (Cursor, "string"),
)


def make_api(app: Flask) -> Api:
    """The collector of blueprints and their docs."""
    app.config |= {"API_TITLE": TITLE, "API_VERSION": VERSION, "OPENAPI_VERSION": "3.1.0"}
    api = _Api()
    app.url_map.converters["ref"] = ReferenceConverter
    app.url_map.converters["event_id"] = EventIdConverter
    app.url_map.converters["hold_id"] = HoldIdConverter
    app.url_map.converters["cid"] = CallerIdConverter
    app.url_map.converters["webhook_id"] = WebhookIdConverter
    app.url_map.converters["delivery_id"] = DeliveryIdConverter
    app.url_map.converters["export_id"] = ExportIdConverter
    api.init_app(
        app,
        spec_kwargs={
            "info": {"description": DESCRIPTION},
            "servers": [{"url": "/"}],
        },
    )
    api.register_converter(ReferenceConverter, _describe_reference)
    api.register_converter(EventIdConverter, _describe_event_id)
    api.register_converter(HoldIdConverter, _describe_hold_id)
    api.register_converter(CallerIdConverter, _describe_caller_id)
    api.register_converter(WebhookIdConverter, _describe_webhook_id)
    api.register_converter(DeliveryIdConverter, _describe_delivery_id)
    api.register_converter(ExportIdConverter, _describe_export_id)
    for field, kind in _FIELDS:
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
            for status in [status for status in responses if not status.startswith(("2", "3"))]:
                del responses[status]
            headers = [_HEADER_OF[fact] for fact in _HEADER_OF if operation.pop(fact, False)]
            if headers:
                operation.setdefault("parameters", []).extend(headers)
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
    names = {parameter["name"] for parameter in operation.get("parameters", [])}
    if "{" in path or "customer" in names:  # something is named by a reference
        codes += [404, 409]
    if "requestBody" in operation:
        codes += [413, 415]
    if "Idempotency-Key" in names:
        codes += [404, 409, 422]
    if "If-Match" in names:
        codes.append(412)
    return sorted(set(codes))


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


def _describe_hold_id(_: HoldIdConverter) -> dict[str, Any]:
    return {"type": "string", "description": "A hold's id (Id của khoản tạm giữ).", "example": "hold_1_42"}


def _describe_caller_id(_: CallerIdConverter) -> dict[str, Any]:
    return {"type": "string", "description": "A caller id.", "example": "0123456790"}


def _describe_webhook_id(_: WebhookIdConverter) -> dict[str, Any]:
    return {
        "type": "string",
        "description": "A webhook's id (Id của webhook).",
        "example": "6cb86e73-990a-4821-845f-29b4ed43259e",
    }


def _describe_delivery_id(_: DeliveryIdConverter) -> dict[str, Any]:
    return {
        "type": "string",
        "description": "A delivery's id (Id của lần gửi).",
        "example": "01929f3e-5d5c-7a31-8a3e-1f6f0d6f2a11",
    }


def _describe_export_id(_: ExportIdConverter) -> dict[str, Any]:
    return {
        "type": "string",
        "description": "An export's id (Id của lần xuất).",
        "example": "4b1d5c9e-0f0a-4a56-9d3c-6a1f2e7c8b90",
    }


def _describe_event_id(_: EventIdConverter) -> dict[str, Any]:
    return {"type": "string", "description": "An event's id (Id của sự kiện).", "example": "evt_1_42"}
