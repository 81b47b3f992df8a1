"""`/v1/webhook`: a client's endpoints, and their secrets."""

from __future__ import annotations

from typing import Any

from flask import Response

from service.access.scopes import Scope
from service.api.answer import answer, moment, page, secret_answer
from service.api.context import holder, services
from service.api.guard import needs
from service.api.once import once, once_sealed
from service.api.parsing import Blueprint
from service.api.reference import webhook_id
from service.api.schemas import webhook_examples as examples
from service.api.schemas.webhook import (
    WEBHOOK_PAGE,
    DeletedAnswer,
    NewWebhook,
    NewWebhookAnswer,
    RotateAnswer,
    RotateRequest,
    WebhookChange,
    WebhookQuery,
    WebhookSchema,
)
from service.api.write import unit
from service.webhooks.endpoints import (
    Endpoint,
    NewEndpoint,
    change_endpoint,
    create_endpoint,
    delete_endpoint,
    find_endpoint,
    list_endpoints,
    rotate_secret,
)

blueprint = Blueprint("Webhook", __name__, url_prefix="/v1/webhook", description="Who wants to hear of changes")


@blueprint.route("", methods=["POST"])
@needs(Scope.WEBHOOK_MANAGE)
@once_sealed
@blueprint.arguments(NewWebhook())
@blueprint.response(200, NewWebhookAnswer(), example=examples.CREATED)
def post_webhook(body: dict[str, Any]) -> Response:
    """Have events sent to a URL. The answer shows the signing secret, this once.

    API dùng để đăng ký webhook. It gets the events that are applied from now on.
    """
    allow = services().config.webhook_allow_networks
    with unit() as tx:
        new = NewEndpoint(**body)
        endpoint, secret = create_endpoint(tx, holder().client_id, new, services().vault, allow_networks=allow)
    return secret_answer({**_dump(endpoint), "secret": secret})


@blueprint.route("", methods=["GET"])
@needs(Scope.WEBHOOK_MANAGE)
@blueprint.arguments(WebhookQuery(), location="query")
@blueprint.response(200, WEBHOOK_PAGE, example=examples.WEBHOOKS)
def get_webhooks(query: dict[str, Any]) -> Response:
    """List the webhooks, oldest first.

    API dùng để lấy danh sách webhook.
    """
    rows, total = list_endpoints(services().engine, holder().client_id, services().vault, **query)
    return page(rows, _dump, query, total)


@blueprint.route("/<webhook_id:webhook>", methods=["GET"])
@needs(Scope.WEBHOOK_MANAGE)
@blueprint.response(200, WebhookSchema(), example=examples.WEBHOOK)
def get_webhook(webhook: str) -> Response:
    """Read one webhook.

    API dùng để xem một webhook.
    """
    found = find_endpoint(services().engine, holder().client_id, webhook_id(webhook), services().vault)
    return answer(_dump(found))


@blueprint.route("/<webhook_id:webhook>", methods=["PUT"])
@needs(Scope.WEBHOOK_MANAGE)
@once
@blueprint.arguments(WebhookChange())
@blueprint.response(200, WebhookSchema(), example=examples.WEBHOOK)
def put_webhook(body: dict[str, Any], webhook: str) -> Response:
    """Change a webhook, disable it or enable it again. What is not named stays.

    API dùng để cập nhật webhook. What it is owed already goes to the new URL.
    """
    allow = services().config.webhook_allow_networks
    client, endpoint_id = holder().client_id, webhook_id(webhook)
    with unit() as tx:
        changed = change_endpoint(tx, client, endpoint_id, body, services().vault, allow_networks=allow)
    return answer(_dump(changed))


@blueprint.route("/<webhook_id:webhook>", methods=["DELETE"])
@needs(Scope.WEBHOOK_MANAGE)
@once
@blueprint.response(200, DeletedAnswer(), example=examples.DELETED)
def delete_webhook(webhook: str) -> Response:
    """Delete a webhook. What it is still owed is skipped.

    API dùng để xoá webhook.
    """
    endpoint_id = webhook_id(webhook)
    with unit() as tx:
        delete_endpoint(tx, holder().client_id, endpoint_id)
    return answer({"id": str(endpoint_id), "message": "successfully"})


@blueprint.route("/<webhook_id:webhook>/secret/rotate", methods=["POST"])
@needs(Scope.WEBHOOK_MANAGE)
@once_sealed
@blueprint.arguments(RotateRequest())
@blueprint.response(200, RotateAnswer(), example=examples.ROTATED)
def post_rotate(body: dict[str, Any], webhook: str) -> Response:
    """Make a new signing secret, shown this once. For a while, deliveries are signed with both.

    API dùng để đổi secret của webhook. A secret that was signing along from an earlier rotation no longer does.
    """
    endpoint_id = webhook_id(webhook)
    with unit() as tx:
        secret, until = rotate_secret(tx, holder().client_id, endpoint_id, body["keep_for"], services().vault)
    return secret_answer({"id": str(endpoint_id), "secret": secret, "previous_secret_until": moment(until)})


def _dump(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "id": str(endpoint.id),
        "url": endpoint.url,
        "event_types": endpoint.event_types,
        "description": endpoint.description,
        "ordered": endpoint.ordered,
        "headers": endpoint.headers,
        "disabled": endpoint.disabled_at is not None,
        "disabled_at": moment(endpoint.disabled_at),
        "disabled_reason": endpoint.disabled_reason,
        "failing_since": moment(endpoint.failing_since),
        "previous_secret_until": moment(endpoint.previous_secret_until),
        "created_at": moment(endpoint.created_at),
    }
