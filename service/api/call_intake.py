"""`POST /v1/call/log`, `/rematch`: calls come in, and those that nobody was known for are looked at again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from flask import Response, request
from marshmallow import ValidationError
from werkzeug.exceptions import UnsupportedMediaType

from service import clock
from service.access.scopes import Scope
from service.api import exact_json
from service.api.answer import answer
from service.api.context import caller
from service.api.errors import status_of
from service.api.guard import needs
from service.api.once import once
from service.api.parsing import NOT_JSON, Blueprint, read_body, sentence_of
from service.api.schemas import call_examples as examples
from service.api.schemas.call import MAX_CALLS, CallOutcomes, NewCall, RematchAnswer, RematchRequest, StoredCall
from service.api.write import announce, unit
from service.calls import call as domain
from service.calls.call import Stored
from service.calls.ingest import Outcome, ingest
from service.calls.rematch import rematch
from service.errors import Invalid, Refusal

# Each month with a call is a table, for all clients, and nobody should make hundreds of them by accident. An operator
# can bring what is older.
OLDEST = timedelta(days=3653)
LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl")
_SCHEMA = NewCall()

blueprint = Blueprint("Call intake", __name__, url_prefix="/v1/call/log", description="Calls come in")

_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "oneOf": [NewCall, {"type": "array", "items": NewCall, "minItems": 1, "maxItems": MAX_CALLS}],
            },
            "example": examples.NEW,
        },
        LINES[0]: {"schema": {"type": "string", "description": f"A call in each line, at most {MAX_CALLS}."}},
    },
}
_ANSWER = {
    "200": {
        "description": "The call, or an outcome for each in the order of the request.",
        "content": {
            "application/json": {
                "schema": {"oneOf": [StoredCall, CallOutcomes]},
                "examples": {"one": {"value": examples.STORED}, "many": {"value": examples.OUTCOMES}},
            }
        },
    }
}


@blueprint.route("", methods=["POST"])
@needs(Scope.CALL_WRITE)
@once
@blueprint.doc(requestBody=_BODY, responses=_ANSWER)
def post_call_log() -> Response:
    """Bring one call, or up to 1,000: each is stored and charged once.

    API dùng để ghi nhận cuộc gọi và trừ tiền. A call is known by its `uniqueid` and `leg`: brought again with the same
    content it is answered with `"duplicate": true` and charged no second time; with other content, 409. The charge
    always goes through, also below what is available. A call of nobody who is known is kept without a charge. A list
    (or `application/x-ndjson`) is one transaction with an outcome for each call; a bad one never fails its neighbours.
    """
    values, many = _values()
    calls = [_call(value) for value in values]
    if not many and isinstance(calls[0], Refusal):
        raise calls[0]
    good = [call for call in calls if isinstance(call, domain.NewCall)]
    with unit() as tx:
        done = iter(ingest(tx, caller(), good))
        outcomes: list[Outcome] = [call if isinstance(call, Refusal) else next(done) for call in calls]
        if not many and isinstance(outcomes[0], Refusal):
            raise outcomes[0]
    stored = [outcome for outcome in outcomes if isinstance(outcome, Stored)]
    announce(each.charged for each in stored if each.charged)
    return answer(_many(outcomes, stored) if many else _dump(stored[0]))


@blueprint.route("/rematch", methods=["POST"])
@needs(Scope.CALL_WRITE)
@once
@blueprint.arguments(RematchRequest())
@blueprint.response(200, RematchAnswer(), example=examples.REMATCHED)
def post_rematch(body: dict[str, Any]) -> Response:
    """Charge unmatched calls whose source is somebody's caller id by now.

    API dùng để tính tiền lại các cuộc gọi chưa xác định được khách hàng. At most 5,000 calls at once, the oldest first.
    """
    with unit() as tx:
        done = rematch(tx, caller(), body.get("source"))
    announce(done.charged)
    return answer({"charged": len(done.charged), "failed": done.failed, "more": done.more})


def _values() -> tuple[list[Any], bool]:
    """The calls of the body, each still to be looked at; and whether it was a list. Raises Invalid."""
    if request.mimetype in LINES:
        values: Any = list(_lines(read_body(request)))
    elif request.is_json:
        values = _parsed(read_body(request))
        if isinstance(values, Refusal):
            raise values
    else:
        raise UnsupportedMediaType
    if isinstance(values, dict):
        return [values], False
    if not isinstance(values, list):
        raise Invalid("body: must be a call, or a list of calls")
    if not 1 <= len(values) <= MAX_CALLS:
        raise Invalid(f"body: must hold 1 to {MAX_CALLS} calls")
    return values, True


def _lines(body: bytes) -> Iterator[Any]:
    for line in body.splitlines():
        if line.strip():
            yield _parsed(line)


def _parsed(text: bytes) -> Any:
    try:
        return exact_json.loads(text)
    except ValueError as error:
        return Invalid(f"body: {error}" if isinstance(error, exact_json.DuplicateKey) else NOT_JSON)


def _call(value: Any) -> domain.NewCall | Refusal:
    """The call that an element means, or why it can't be one."""
    if isinstance(value, Refusal):
        return value
    try:
        call = domain.new_call(**_SCHEMA.load(value), now=clock.now())
    except ValidationError as error:
        return Invalid(sentence_of(error.messages_dict))
    except Invalid as refusal:
        return refusal
    if call.start_time < clock.now() - OLDEST:
        return Invalid("start_time: must not be more than 10 years ago")
    return call


def _many(outcomes: list[Outcome], stored: list[Stored]) -> dict[str, Any]:
    new = [each for each in stored if not each.duplicate]
    return {
        "data": [_dump_outcome(outcome) for outcome in outcomes],
        "stored": len(new),
        "duplicates": len(stored) - len(new),
        "unmatched": sum(each.customer_id is None for each in new),
        "failed": len(outcomes) - len(stored),
    }


def _dump_outcome(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, Refusal):
        return {"status": status_of(outcome), "error": outcome.sentence}
    return {"status": 200, **_dump(outcome)}


def _dump(stored: Stored) -> dict[str, Any]:
    return {
        "id": stored.call_id,
        "uniqueid": stored.call.uniqueid,
        "leg": stored.call.leg,
        "customer_id": None if stored.customer_id is None else str(stored.customer_id),
        "event_id": stored.event_id,
        "duplicate": stored.duplicate,
    }
