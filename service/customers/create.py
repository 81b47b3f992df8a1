"""Create a customer: its row, its caller ids, the head of its stream, and the first event with the opening credit."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Connection, insert
from sqlalchemy import exc as sa
from sqlalchemy.orm import InstrumentedAttribute

from service.errors import AlreadyExists
from service.ledger.append import append_within, appended
from service.ledger.command import NOTHING_SAID, Appended, Caller, Why, open_account
from service.ledger.event import Status
from service.models import CallerId, Customer, Stream

CALLER_IDS_TOLD = 20  # of a customer's first caller ids in its opening event, which stays for good


@dataclass(frozen=True, slots=True)
class NewCustomer:
    """What a customer starts with. `id` is given only where an existing system's ids are kept."""

    username: str
    useralias: str
    credit: Decimal = Decimal(0)
    status: Status = Status.ACTIVE
    activated: bool = False
    type_paid: int = 0
    creditlimit: Decimal | None = None
    credit_notification: Decimal | None = None
    id_group: int | None = None
    enableexpire: int = 0
    expiredays: int = 0
    creationdate: datetime | None = None
    firstusedate: datetime | None = None
    expirationdate: datetime | None = None
    lastuse: datetime | None = None
    caller_ids: Sequence[str] = ()
    id: int | None = None


_COPIED: tuple[InstrumentedAttribute[object], ...] = (
    Customer.id,
    Customer.username,
    Customer.useralias,
    Customer.activated,
    Customer.type_paid,
    Customer.creditlimit,
    Customer.credit_notification,
    Customer.id_group,
    Customer.enableexpire,
    Customer.expiredays,
    Customer.creationdate,
    Customer.firstusedate,
    Customer.expirationdate,
    Customer.lastuse,
)


def new_alias() -> str:
    """A useralias of fifteen digits, as A2Billing makes them: by chance nobody else's."""
    return str(10**14 + secrets.randbelow(9 * 10**14))


def create_customer(tx: Connection, caller: Caller, new: NewCustomer, why: Why = NOTHING_SAID) -> Appended:
    """Make a customer within the caller's transaction; its opening event.

    Raises AlreadyExists, or a Refusal of the opening event, after which the transaction has to be given up.
    """
    values = {c.key: getattr(new, c.key) for c in _COPIED if getattr(new, c.key) is not None}
    try:
        customer_id = tx.execute(
            insert(Customer).values(client_id=caller.client_id, **values).returning(Customer.id)
        ).scalar_one()
        for cid in new.caller_ids:
            tx.execute(insert(CallerId).values(client_id=caller.client_id, cid=cid, customer_id=customer_id))
    except sa.IntegrityError as error:
        raise AlreadyExists(_taken(error)) from None
    tx.execute(insert(Stream).values(customer_id=customer_id, client_id=caller.client_id, status=int(new.status)))
    return appended(append_within(tx, [open_account(caller, customer_id, new.credit, new.status, told(new), why)])[0])


def told(new: NewCustomer) -> dict[str, object]:
    """What the opening event tells of the customer; the limits in it take effect with it."""
    told: dict[str, object] = {"username": new.username, "useralias": new.useralias, "type_paid": new.type_paid}
    if new.creditlimit is not None:
        told["creditlimit"] = new.creditlimit
    if new.credit_notification is not None:
        told["credit_notification"] = new.credit_notification
    if new.caller_ids:
        told["caller_ids"] = list(new.caller_ids[:CALLER_IDS_TOLD])
    return told


def _taken(error: sa.IntegrityError) -> str:
    constraint = getattr(getattr(error.orig, "diag", None), "constraint_name", "") or ""
    for field, mark in (
        ("username", "username"),
        ("useralias", "useralias"),
        ("cid", "caller_id"),
        ("id", "customer_pkey"),
    ):
        if mark in constraint:
            return f"{field} is taken already"
    raise error
