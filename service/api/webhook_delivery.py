"""`/v1/webhook/{id}/delivery`: what was sent, what became of it, and sending it again."""

from __future__ import annotations

import uuid
from typing import Any

from flask import Response

from service import clock
from service.access.scopes import Scope
from service.api.answer import answer, moment
from service.api.context import holder, services
from service.api.cursor import write_cursor
from service.api.exact_json import loads
from service.api.guard import needs
from service.api.once import once
from service.api.parsing import Blueprint
from service.api.reference import delivery_id, webhook_id
from service.api.schemas import webhook_examples as examples
from service.api.schemas.webhook import (
    DELIVERIES,
    DELIVERY_CURSOR,
    DeliveryAnswer,
    DeliveryQuery,
    DeliveryWithBody,
    NothingMore,
    ReplayAnswer,
    ReplayRequest,
)
from service.api.write import deliver_soon, unit
from service.webhooks.again import Stretch, replay, retry
from service.webhooks.history import MISSED, Attempt, Delivery, Wanted, find_delivery, list_deliveries
from service.webhooks.message import send_test

_PART = 40  # bits: an id has 128, more than a number of a cursor can hold

blueprint = Blueprint(
    "Webhook delivery", __name__, url_prefix="/v1/webhook/<webhook_id:webhook>", description="What webhooks are sent"
)


@blueprint.route("/test", methods=["POST"])
@needs(Scope.WEBHOOK_MANAGE)
@once
@blueprint.arguments(NothingMore())
@blueprint.response(200, DeliveryAnswer(), example=examples.DUE)
def post_test(_: dict[str, Any], webhook: str) -> Response:
    """Send a `webhook.test` message, signed like any other, whatever types the webhook asked for.

    API dùng để gửi thử webhook. `delivery` is where its outcome can be read.
    """
    endpoint_id = webhook_id(webhook)
    with unit() as tx:
        sent = send_test(tx, holder().client_id, endpoint_id)
    deliver_soon()
    return _due(endpoint_id, sent)


@blueprint.route("/delivery", methods=["GET"])
@needs(Scope.WEBHOOK_MANAGE)
@blueprint.arguments(DeliveryQuery(), location="query")
@blueprint.response(200, DELIVERIES, example=examples.DELIVERIES)
def get_deliveries(query: dict[str, Any], webhook: str) -> Response:
    """List the deliveries of a webhook with their attempts, newest first.

    API dùng để xem lịch sử gửi webhook.
    """
    after = query.pop("after", None)
    wanted = Wanted(**query, after=None if after is None else _id_at(after))
    page = list_deliveries(services().engine, holder().client_id, webhook_id(webhook), wanted)
    following = None if page.next is None else write_cursor(DELIVERY_CURSOR, *_place_of(page.next))
    return answer({"data": [_dump(delivery) for delivery in page.rows], "next": following})


@blueprint.route("/delivery/<delivery_id:delivery>", methods=["GET"])
@needs(Scope.WEBHOOK_MANAGE)
@blueprint.response(200, DeliveryWithBody(), example=examples.ONE)
def get_delivery(webhook: str, delivery: str) -> Response:
    """Read one delivery, with what is sent.

    API dùng để xem một lần gửi webhook.
    """
    endpoint_id = webhook_id(webhook)
    found = find_delivery(services().engine, holder().client_id, endpoint_id, delivery_id(delivery))
    return answer({**_dump(found), "body": loads(found.body)})


@blueprint.route("/delivery/<delivery_id:delivery>/retry", methods=["POST"])
@needs(Scope.WEBHOOK_MANAGE)
@once
@blueprint.arguments(NothingMore())
@blueprint.response(200, DeliveryAnswer(), example=examples.DUE)
def post_retry(_: dict[str, Any], webhook: str, delivery: str) -> Response:
    """Send a delivery again, at once: the same bytes with the same `webhook-id`.

    API dùng để gửi lại một webhook. One that has not ended yet answers 409. The schedule of attempts begins anew.
    """
    endpoint_id, wanted = webhook_id(webhook), delivery_id(delivery)
    with unit() as tx:
        retry(tx, holder().client_id, endpoint_id, wanted)
    deliver_soon()
    return _due(endpoint_id, wanted)


@blueprint.route("/replay", methods=["POST"])
@needs(Scope.WEBHOOK_MANAGE)
@once
@blueprint.arguments(ReplayRequest())
@blueprint.response(200, ReplayAnswer(), example=examples.REPLAYED)
def post_replay(body: dict[str, Any], webhook: str) -> Response:
    """Send everything again that was missed in a stretch of time, after what is sent for the first time.

    API dùng để gửi lại các webhook bị lỗi. Without `status`: what failed and what was skipped.
    """
    statuses = (body["status"],) if "status" in body else MISSED
    until = body.get("until") or clock.now()
    done = replay(unit, Stretch(holder().client_id, webhook_id(webhook), body["since"], until, statuses))
    deliver_soon()
    return answer({"replayed": done.count, "more": done.more})


def _due(endpoint_id: uuid.UUID, sent: uuid.UUID) -> Response:
    path = f"/v1/webhook/{endpoint_id}/delivery/{sent}"
    return answer({"id": str(sent), "message": "successfully", "delivery": path})


def _place_of(delivery: uuid.UUID) -> tuple[int, int, int]:
    mask = (1 << _PART) - 1
    return delivery.int >> 2 * _PART, delivery.int >> _PART & mask, delivery.int & mask


def _id_at(place: tuple[int, ...]) -> uuid.UUID:
    high, middle, low = place
    return uuid.UUID(int=(high << 2 * _PART | middle << _PART | low) & (1 << 128) - 1)


def _dump(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": str(delivery.id),
        "webhook_id": delivery.webhook_id,
        "event_type": delivery.event_type,
        "event_id": delivery.event_id,
        "status": delivery.status,
        "created_at": moment(delivery.created_at),
        "next_attempt_at": moment(delivery.next_attempt_at),
        "finished_at": moment(delivery.finished_at),
        "attempts": [_dump_attempt(attempt) for attempt in delivery.attempts],
    }


def _dump_attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "outcome": attempt.outcome,
        "status_code": attempt.status_code,
        "milliseconds": attempt.milliseconds,
        "error": attempt.error,
        "started_at": moment(attempt.started_at),
    }
