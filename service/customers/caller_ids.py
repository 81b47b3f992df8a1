"""Caller ids come and go, and each customer's stream tells of it. A number is one customer's of a client at most."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update
from sqlalchemy import exc as sa

from service.errors import AlreadyExists, CustomerNotFound, NotFound
from service.ledger.append import append_within, appended
from service.ledger.command import NOTHING_SAID, Appended, Caller, Why, add_caller_id, remove_caller_id
from service.models import CallerId, Customer


def give_caller_id(tx: Connection, caller: Caller, customer_id: int, cid: str, why: Why = NOTHING_SAID) -> Appended:
    """Make a new caller id a customer's, within the caller's transaction, which has to be given up after a Refusal.

    Raises CustomerNotFound, AlreadyExists where the number is somebody's already.
    """
    _require_customer(tx, caller, customer_id)
    try:
        tx.execute(insert(CallerId).values(client_id=caller.client_id, cid=cid, customer_id=customer_id))
    except sa.IntegrityError:
        raise AlreadyExists("cid is taken already") from None
    return appended(append_within(tx, [add_caller_id(caller, customer_id, cid, why)])[0])


def move_caller_id(
    tx: Connection, caller: Caller, cid: str, customer_id: int, why: Why = NOTHING_SAID
) -> list[Appended]:
    """Make a caller id another customer's: an event in either stream, or none where it is theirs already.

    Raises NotFound, CustomerNotFound; the transaction has to be given up then.
    """
    this = (CallerId.client_id == caller.client_id, CallerId.cid == cid)
    owner = tx.scalar(select(CallerId.customer_id).where(*this).with_for_update())
    if owner is None:
        raise NotFound("caller id not found")
    _require_customer(tx, caller, customer_id)
    if owner == customer_id:
        return []
    tx.execute(update(CallerId).where(*this).values(customer_id=customer_id))
    # The reference stands on the event of who gains the number: it can be used once only.
    left = Why(why.reason)
    commands = [remove_caller_id(caller, owner, cid, left), add_caller_id(caller, customer_id, cid, why)]
    return [appended(outcome) for outcome in append_within(tx, commands)]


def _require_customer(tx: Connection, caller: Caller, customer_id: int) -> None:
    query = select(Customer.id).where(Customer.id == customer_id, Customer.client_id == caller.client_id)
    if tx.scalar(query) is None:
        raise CustomerNotFound
