"""`/v1/event`: the events of all of a client's customers, as a feed to follow, and one by one."""

from __future__ import annotations

from typing import Any

from flask import Response

from service.access.scopes import Scope
from service.api.answer import answer, moment
from service.api.context import holder, services
from service.api.cursor import write_cursor
from service.api.exact_json import loads
from service.api.guard import needs
from service.api.listing import CSV_TOO, VARY, Listing, wants_csv
from service.api.parsing import Blueprint
from service.api.schemas import event_examples as examples
from service.api.schemas.event import FEED, FEED_CURSOR, EventSchema, FeedEventSchema, FeedQuery
from service.ledger.feed import Feed, FeedPlace, feed_horizon, place_in_feed, read_feed
from service.ledger.statement import EventView, find_event, stretch

blueprint = Blueprint("Event", __name__, url_prefix="/v1/event", description="The events of all customers")


@blueprint.route("", methods=["GET"])
@needs(Scope.CUSTOMER_READ)
@blueprint.arguments(FeedQuery(), location="query")
@blueprint.response(200, FEED, headers=VARY, example=examples.FEED)
@blueprint.alt_response(200, **CSV_TOO)
def get_feed(query: dict[str, Any]) -> Response:
    """Follow the events of all customers, oldest first.

    Luồng sự kiện của tất cả khách hàng. Remember the `cursor` of the last event seen and ask again with `after`: every
    event comes once, each customer's in order, however many writers there are. With a filter a page may hold fewer
    events than asked for, or none, and yet have a `next`. `Accept: text/csv` gives the feed up to now.
    """
    engine, feed = services().engine, _feed(query)
    return Listing[EventView, FeedPlace](
        read=lambda after, limit: read_feed(engine, feed, after, limit),
        dump=_dump_in_feed,
        cursor=lambda place: write_cursor(FEED_CURSOR, *place),
        columns=list(FeedEventSchema().fields),
        filename="events.csv",
    ).answer(FeedPlace(*query["after"]) if "after" in query else None, query.get("limit"))


@blueprint.route("/<event_id:event_id>", methods=["GET"])
@needs(Scope.CUSTOMER_READ)
@blueprint.response(200, EventSchema(), example=examples.EVENT)
def get_event(event_id: str) -> Response:
    """Read one event.

    Lấy thông tin của một sự kiện theo id. An event never changes.
    """
    return answer(dump_event(find_event(services().engine, holder().client_id, event_id)))


def dump_event(event: EventView) -> dict[str, Any]:
    """An event as the API shows it."""
    return {
        "event_id": event.id,
        "customer_id": event.customer_id,
        "seq": event.seq,
        "kind": event.kind,
        "amount": event.amount,
        "delta": event.delta,
        "balance_before": event.balance_before,
        "balance_after": event.balance_after,
        "held": event.held,
        "creditlimit": event.creditlimit,
        "status": event.status,
        "reason": event.reason,
        "reference": event.reference,
        "refers_to": event.refers_to,
        "detail": None if event.detail is None else loads(event.detail),
        "actor": event.actor,
        "request_id": event.request_id,
        "idempotency_key": event.idempotency_key,
        "recorded_at": moment(event.recorded_at),
    }


def _dump_in_feed(event: EventView) -> dict[str, Any]:
    return {**dump_event(event), "cursor": write_cursor(FEED_CURSOR, *place_in_feed(event))}


def _feed(query: dict[str, Any]) -> Feed:
    """The feed that a query means; an export ends where the feed ends now, however fast others write."""
    engine, client_id = services().engine, holder().client_id
    return Feed(
        client_id,
        stretch(engine, client_id, query["customer"]).customer_id if "customer" in query else None,
        query.get("kind"),
        feed_horizon(engine) if wants_csv() else None,
    )
