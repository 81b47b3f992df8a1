"""`POST /v1/event/{event_id}/reversal`: undo a change of credit."""

from __future__ import annotations

from typing import Any

from flask import Response

from service.access.scopes import Scope
from service.api.context import caller
from service.api.guard import needs
from service.api.once import once
from service.api.parsing import Blueprint
from service.api.preconditions import honours_if_match
from service.api.schemas import examples
from service.api.schemas.change import ReversalAnswer, ReversalRequest
from service.api.write import CHANGE_HEADERS, change, changed, why
from service.ledger.command import reverse
from service.ledger.event import place_of
from service.ledger.refusals import event_not_found

blueprint = Blueprint("Reversal", __name__, url_prefix="/v1/event", description="Undoing a change of credit")


@blueprint.route("/<event_id:event_id>/reversal", methods=["POST"])
@needs(Scope.CREDIT_WRITE)
@once
@honours_if_match
@blueprint.arguments(ReversalRequest())
@blueprint.response(200, ReversalAnswer(), headers=CHANGE_HEADERS, example=examples.REVERSED)
def post_reversal(body: dict[str, Any], event_id: str) -> Response:
    """Undo a change of credit by its delta, in part or whole.

    API dùng để hoàn lại một thay đổi số dư. All reversals of an event together are never more than it was. What would
    take credit below the floor answers 409.
    """
    place = place_of(event_id, "evt")
    if place is None:
        raise event_not_found()
    done = change(reverse(caller(), place, body["amount"], why(body)))
    return changed(done, credit=done.balance, event_id=done.event_id, reverses=event_id)
