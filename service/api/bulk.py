"""`POST /v1/ledger/bulk`: up to a thousand changes of credit and status in one request."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import wraps
from typing import Any, TypeVar

from flask import Response, g, request
from marshmallow import ValidationError

from service.access.scopes import Scope
from service.api.answer import answer
from service.api.context import caller, holder, services
from service.api.errors import status_of
from service.api.guard import needs
from service.api.once import HEADER, once
from service.api.parsing import Blueprint, sentence_of
from service.api.schemas import examples
from service.api.schemas.bulk import COMMANDS, BulkAnswer, BulkRequest
from service.api.write import announce, unit
from service.errors import Conflict, Invalid, MissingScope, OutcomeUnknown, Refusal, Unavailable
from service.ledger.append import Outcome
from service.ledger.bulk import Refused, append_all, append_slices, resolve
from service.ledger.command import Appended, Caller, Command, Why, add_credit, set_credit, set_status
from service.ledger.idempotency import KeyedRequest, begin

View = TypeVar("View", bound=Callable[..., Any])


def _with_a_second_connection(view: View) -> View:
    """A request with a key holds one connection for it and needs another for its slices: let in only as many as there
    are pairs. To be asked for before the first is taken, or all would hold one and wait."""

    @wraps(view)
    def let_in(*args: Any, **kwargs: Any) -> Any:
        with services().second_connections if HEADER in request.headers else nullcontext():
            return view(*args, **kwargs)

    return let_in  # type: ignore[return-value]


blueprint = Blueprint("Bulk", __name__, url_prefix="/v1/ledger", description="Many changes at once")


@blueprint.route("/bulk", methods=["POST"])
@needs(Scope.CREDIT_WRITE)
@_with_a_second_connection
@once
@blueprint.arguments(BulkRequest())
@blueprint.response(200, BulkAnswer(), example=examples.BULK)
def post_bulk(body: dict[str, Any]) -> Response:
    """Carry out up to 1,000 changes of credit and status.

    API dùng để cập nhật số dư và trạng thái của nhiều khách hàng cùng lúc. Each command has an outcome, in the order of
    the request; a bad one never fails its neighbours. With `atomic` all of them are carried out or none, and the first
    that is refused decides the answer. One Idempotency-Key stands for the whole request.
    """
    who = caller()
    commands = _without_doubles([_command(who, fields) for fields in body["commands"]])
    outcomes = _all_or_nothing(commands) if body["atomic"] else _each(commands)
    announce(outcome for outcome in outcomes if isinstance(outcome, Appended))
    data = [_dump(outcome) for outcome in outcomes]
    succeeded = sum(isinstance(outcome, Appended) for outcome in outcomes)
    return answer({"data": data, "succeeded": succeeded, "failed": len(data) - succeeded})


def _command(who: Caller, fields: Any) -> Command | Refusal:
    """The command that one element of the list means, or why it can't be one."""
    kind = fields.get("type") if isinstance(fields, dict) else None
    schema = COMMANDS.get(kind) if isinstance(kind, str) else None
    if schema is None:
        return Invalid(f"type: must be one of {', '.join(COMMANDS)}")
    try:
        body = schema.load(fields)
    except ValidationError as error:
        return Invalid(sentence_of(error.messages_dict))
    why = Why(body["reason"], body["reference"])
    if body["type"] == "status":
        if Scope.STATUS_WRITE not in holder().scopes:
            return MissingScope(Scope.STATUS_WRITE)
        return set_status(who, body["customer"], body["status"], why)
    make = set_credit if body["type"] == "set" else add_credit
    return make(who, body["customer"], body["credit"], why)


def _without_doubles(commands: list[Command | Refusal]) -> list[Command | Refusal]:
    """A reference that is given twice is its first command's, whichever of the two would be carried out first."""
    seen: set[str] = set()
    kept: list[Command | Refusal] = []
    for command in commands:
        reference = command.why.reference if isinstance(command, Command) else None
        kept.append(Conflict(f"reference '{reference}' is given more than once") if reference in seen else command)
        if reference is not None:
            seen.add(reference)
    return kept


def _all_or_nothing(commands: list[Command | Refusal]) -> list[Outcome]:
    for number, command in enumerate(commands):
        if isinstance(command, Refusal):
            raise Refused(number, command)
    with unit() as tx:
        return [*append_all(tx, [command for command in commands if isinstance(command, Command)])]


def _each(commands: list[Command | Refusal]) -> list[Outcome]:
    good = {number: command for number, command in enumerate(commands) if isinstance(command, Command)}
    keyed: KeyedRequest | None = g.get("keyed")
    if keyed is None:
        customers = resolve(services().engine, list(good.values()))
    else:
        good = {number: replace(command, id=keyed.command_id(number)) for number, command in good.items()}
        customers = _noted(keyed, list(good.values()))
    done = append_slices(services().engine, list(good.values()), customers, again=keyed is not None)
    _raise_unavailable(done, all_or_none=len(done) == len(commands), keyed=keyed is not None)
    by_number: dict[int, Outcome] = dict(zip(good, done, strict=True))
    return [by_number[number] if number in by_number else _refusal(command) for number, command in enumerate(commands)]


def _noted(keyed: KeyedRequest, commands: list[Command]) -> list[int]:
    """Whom the commands of a keyed request mean: what was noted when it was begun, be it before this sending."""
    customers: list[int] | None = g.customers
    if customers is None:
        customers = resolve(services().engine, commands)
        begin(services().engine, keyed, customers)
    return customers


def _raise_unavailable(done: list[Outcome], *, all_or_none: bool, keyed: bool) -> None:
    """With a key an answer is kept, so there is none before every slice is through. Without one, each command has its
    own outcome, unless there is no other."""
    unavailable = [outcome for outcome in done if isinstance(outcome, Unavailable)]
    if unavailable and (keyed or (all_or_none and len(unavailable) == len(done))):
        announce(outcome for outcome in done if isinstance(outcome, Appended))
        unknown = [outcome for outcome in unavailable if isinstance(outcome, OutcomeUnknown)]
        raise (unknown or unavailable)[0]


def _refusal(command: Command | Refusal) -> Refusal:
    assert isinstance(command, Refusal)
    return command


def _dump(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, Refusal):
        return {"status": status_of(outcome), "error": outcome.sentence}
    return {
        "status": 200,
        "id": str(outcome.customer_id),
        "message": "successfully",
        "credit": outcome.balance,
        "event_id": outcome.event_id,
    }
