"""`/v1/customer/{ref}/event`, `/log`, `/balance`: what has happened to a customer, and what it has or had."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Response
from marshmallow import Schema
from sqlalchemy import Engine

from service.access.scopes import Scope
from service.api.answer import answer, moment
from service.api.context import holder, services
from service.api.cursor import write_cursor
from service.api.event import dump_event
from service.api.guard import needs
from service.api.listing import CSV_TOO, VARY, Listing
from service.api.parsing import Blueprint
from service.api.schemas import event_examples as examples
from service.api.schemas.event import (
    CHANGE_LOG,
    LOG_CURSOR,
    STATEMENT,
    STATEMENT_CURSOR,
    BalanceQuery,
    BalanceSchema,
    ChangeSchema,
    EventSchema,
    LogQuery,
    StatementQuery,
)
from service.ledger.balance import Balance, BalanceNow, balance_at, balance_now
from service.ledger.statement import ChangeView, Page, Stretch, Wanted, change_log, statement, stretch

BALANCE_HEADERS = {
    "ETag": {
        "description": "The customer's seq, quoted. Not with `at`.",
        "schema": {"type": "string"},
    }
}

blueprint = Blueprint("Statement", __name__, url_prefix="/v1/customer", description="What happened, and what there is")

Row = TypeVar("Row")
Read = Callable[[Engine, Stretch, Wanted], Page[Row, int]]


@blueprint.route("/<ref:ref>/event", methods=["GET"])
@needs(Scope.CUSTOMER_READ)
@blueprint.arguments(StatementQuery(), location="query")
@blueprint.response(200, STATEMENT, headers=VARY, example=examples.STATEMENT)
@blueprint.alt_response(200, **CSV_TOO)
def get_statement(query: dict[str, Any], ref: str) -> Response:
    """Read a customer's statement: its events, newest first.

    Sao kê biến động số dư của khách hàng. Pages stay stable while events are added. `Accept: text/csv` gives the whole
    of it as CSV.
    """
    return _list(query, ref, statement, dump_event, STATEMENT_CURSOR, EventSchema())


@blueprint.route("/<ref:ref>/log", methods=["GET"])
@needs(Scope.CUSTOMER_READ)
@blueprint.arguments(LogQuery(), location="query")
@blueprint.response(200, CHANGE_LOG, headers=VARY, example=examples.CHANGE_LOG)
@blueprint.alt_response(200, **CSV_TOO)
def get_change_log(query: dict[str, Any], ref: str) -> Response:
    """Read a customer's change log: what was applied, newest first.

    Log thay đổi của khách hàng: ai, khi nào, từ giá trị nào sang giá trị nào. An event is in the statement at once, and
    here as soon as a worker has applied it. `Accept: text/csv` gives the whole of it as CSV.
    """
    return _list(query, ref, change_log, _dump_change, LOG_CURSOR, ChangeSchema())


@blueprint.route("/<ref:ref>/balance", methods=["GET"])
@needs(Scope.CUSTOMER_READ)
@blueprint.arguments(BalanceQuery(), location="query")
@blueprint.response(200, BalanceSchema(), headers=BALANCE_HEADERS, example=examples.BALANCE)
def get_balance(query: dict[str, Any], ref: str) -> Response:
    """Read what a customer has, now or at a moment.

    Số dư của khách hàng tại thời điểm hiện tại hoặc một thời điểm trong quá khứ. At a moment it is what the events up
    to then say, holds included that were open in them; now, a hold whose time is over no longer counts.
    """
    engine, client_id = services().engine, holder().client_id
    if "at" in query:
        return answer(_dump_balance(balance_at(engine, client_id, ref, query["at"])))
    balance = balance_now(engine, client_id, ref)
    response = answer(_dump_balance(balance))
    response.headers["ETag"] = f'"{balance.seq}"'
    return response


def _list(
    query: dict[str, Any], ref: str, read: Read[Row], dump: Callable[[Row], dict[str, Any]], name: str, row: Schema
) -> Response:
    engine = services().engine
    among = stretch(engine, holder().client_id, ref, query.get("start_date"), query.get("end_date"))
    newest_first, kind = query["order"] == "desc", query.get("kind")
    return Listing[Row, int](
        read=lambda after, limit: read(engine, among, Wanted(limit, after, newest_first, kind)),
        dump=dump,
        cursor=lambda seq: write_cursor(name, seq),
        columns=list(row.fields),
        filename=f"{name}-{among.customer_id}.csv",
    ).answer(query["after"][0] if "after" in query else None, query.get("limit"))


def _dump_change(change: ChangeView) -> dict[str, Any]:
    return {
        "event_id": change.id,
        "customer_id": change.customer_id,
        "seq": change.seq,
        "kind": change.kind,
        "credit_before": change.credit_before,
        "credit_after": change.credit_after,
        "status_before": change.status_before,
        "status_after": change.status_after,
        "actor": change.actor,
        "reason": change.reason,
        "reference": change.reference,
        "recorded_at": moment(change.recorded_at),
        "applied_at": moment(change.applied_at),
    }


def _dump_balance(balance: Balance) -> dict[str, Any]:
    limits = {"credit_notification": balance.credit_notification} if isinstance(balance, BalanceNow) else {}
    return {
        "id": str(balance.customer_id),
        "credit": balance.credit,
        "held": balance.held,
        "creditlimit": balance.creditlimit,
        "available": balance.available,
        **limits,
        "status": balance.status,
        "seq": balance.seq,
        "at": moment(balance.at),
    }
