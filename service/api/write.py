"""How a view changes something: through the ledger's door, in the request's own transaction if it has one, and with the
doorbell rung after the commit.

A request with an Idempotency-Key runs in one transaction together with its answer (see `once`); one without takes the
fast way, the group commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from flask import Response, g
from prometheus_client import Counter
from sqlalchemy import Connection

from service.api.answer import answer
from service.api.context import services
from service.api.preconditions import expected_seq
from service.db.transaction import transaction
from service.doorbell import APPLY, DELIVER, Bell
from service.ledger.append import append_within, appended
from service.ledger.command import Appended, Command, Why
from service.ledger.drain import shard_of

APPENDS = Counter("pbx_appends", "Events appended, by kind", ["kind"])

CHANGE_HEADERS = {
    "ETag": {"description": "The customer's seq after the change, quoted.", "schema": {"type": "string"}},
    "Ledger-Event": {"description": "The id of the ledger event.", "schema": {"type": "string"}},
}


def change(command: Command) -> Appended:
    """Carry out one command. Raises its Refusal, Unavailable among them."""
    tx = g.get("transaction")
    done = services().ledger.append(command) if tx is None else appended(append_within(tx, [command])[0])
    announce([done])
    return done


@contextmanager
def unit() -> Iterator[Connection]:
    """A transaction for a change that is more than one command. A Refusal raised in it undoes it.

    Within a request that has one already, it is a part of that.
    """
    tx = g.get("transaction")
    if tx is None:
        with transaction(services().engine) as own:
            yield own
    else:
        with tx.begin_nested():
            yield tx


def announce(done: Iterable[Appended]) -> None:
    """Count these events and ring for their shards: now, or after the commit of the request's transaction."""
    if g.get("transaction") is not None:
        g.done.extend(done)
        return
    shards = set()
    for one in done:
        APPENDS.labels(one.kind.value).inc()
        shards.add(shard_of(one.customer_id))
    for shard in shards:
        services().bell.ring(Bell(APPLY, shard))


def deliver_soon() -> None:
    """Ring for deliveries that are due: now, or after the commit of the request's transaction."""
    ring_soon(Bell(DELIVER))


def ring_soon(bell: Bell) -> None:
    """Ring a bell: now, or after the commit of the request's transaction."""
    if g.get("transaction") is not None:
        g.bells.append(bell)
        return
    services().bell.ring(bell)


def why(body: dict[str, Any]) -> Why:
    """What the caller says about a change: `reason` and `reference` in the body, If-Match in the header."""
    return Why(body.get("reason"), body.get("reference"), expected_seq())


def changed(done: Appended, **more: Any) -> Response:
    """The answer to a change: the customer's id, the message, and what the route adds."""
    response = answer({"id": str(done.customer_id), "message": "successfully", **more})
    return with_place(response, done)


def with_place(response: Response, done: Appended) -> Response:
    """Say which event it was, and where the stream is now."""
    response.headers["ETag"] = f'"{done.last_seq}"'
    response.headers["Ledger-Event"] = done.event_id
    return response
