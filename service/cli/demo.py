"""`flask demo …`: data to look at. The two customers and two calls of the API reference, exactly, and some more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import click
from sqlalchemy import Connection, insert, text

from service.access.keys import create_client_within, find_client
from service.api.context import services
from service.calls.partitions import ensure_month
from service.cli.group import Group, check_schema
from service.customers.create import NewCustomer, create_customer
from service.db.transaction import transaction
from service.doorbell import APPLY, Bell
from service.errors import AlreadyExists, NotFound
from service.ledger.command import Caller
from service.ledger.drain import shard_of
from service.models import CallRecord

NAME = "demo"
CUSTOMERS = 50  # the reference's `total`
CALLS = 15  # the same of the call log

group = Group("demo", help="Data to try the API with.", callback=check_schema)


@group.command("load")
def load() -> None:
    """Load the client 'demo' with 50 customers and 15 calls. A second time, nothing happens."""
    engine = services().engine
    try:
        find_client(engine, NAME)
    except NotFound:
        customer_ids = _load()
        click.echo(f"Client '{NAME}' loaded: {CUSTOMERS} customers, {CALLS} calls.")
        for shard in {shard_of(customer_id) for customer_id in customer_ids}:
            services().doorbell.ring(Bell(APPLY, shard))
    else:
        click.echo(f"Client '{NAME}' is here already.")


def _load() -> list[int]:
    """All in one transaction: a load that was cut short leaves nothing behind."""
    engine = services().engine
    with transaction(engine) as tx:
        if tx.scalar(text("SELECT EXISTS (SELECT FROM customer WHERE id <= :n)"), {"n": CUSTOMERS}):
            raise AlreadyExists(f"the demo needs the customer ids 1 to {CUSTOMERS}, and this database uses them")
        client_id = create_client_within(tx, NAME)
        caller = Caller(client_id, "demo")
        ids = [create_customer(tx, caller, new).customer_id for new in [*_reference_customers(), *_more_customers()]]
        tx.execute(text("SELECT setval(pg_get_serial_sequence('customer', 'id'), :n)"), {"n": CUSTOMERS})
        _load_calls(tx, client_id)
    return ids


def _reference_customers() -> list[NewCustomer]:
    return [
        NewCustomer(
            id=1,
            creationdate=_utc("2021-05-31T17:17:35"),
            firstusedate=_utc("2021-05-31T20:08:56"),
            expirationdate=_utc("2031-05-31T10:15:27"),
            username="0906237580",
            useralias="12345790644",
            credit=Decimal(12343),
            lastuse=_utc("2021-07-20T12:00:54"),
            id_group=2,
            caller_ids=["0123456787"],
        ),
        NewCustomer(
            id=2,
            creationdate=_utc("2021-06-05T12:59:50"),
            firstusedate=_utc("2021-06-05T13:01:58"),
            expirationdate=_utc("2031-06-05T05:58:42"),
            username="1234567890",
            useralias="12345790645",
            credit=Decimal(12345),
            lastuse=_utc("2021-07-27T19:07:18"),
            id_group=2,
            caller_ids=["0123456788", "0123456789"],
        ),
    ]


def _more_customers() -> list[NewCustomer]:
    first = _utc("2021-06-06T02:00:00")
    return [
        NewCustomer(
            id=n,
            creationdate=first + timedelta(hours=7 * n),
            expirationdate=first + timedelta(days=3650, hours=7 * n),
            username=f"09062375{n:02}",
            useralias=f"123457907{n:02}",
            credit=Decimal(1000 * n) + Decimal(n) / 100,
            activated=n % 2 == 0,
            creditlimit=Decimal(500) if n % 5 == 0 else None,
            id_group=1 + n % 3,
            caller_ids=[f"02873000{n:03}"] if n % 4 else [],
        )
        for n in range(3, CUSTOMERS + 1)
    ]


def _load_calls(tx: Connection, client_id: object) -> None:
    calls = [
        _call(42, "2021-06-04T21:12:59", 38, 285, "1622815952.3252"),
        _call(29, "2021-06-01T22:02:13", 120, 1600, "1622559713.3225"),
        *(
            _call(n, f"2021-06-01T{n - 10:02}:15:{n:02}", 10 * n, 75 * n, f"16225{n}8000.32{n}")
            for n in range(29 - CALLS + 2, 29)
        ),
    ]
    ensure_month(tx, _utc("2021-06-01T00:00:00"))
    tx.execute(insert(CallRecord), [{"client_id": client_id, **call} for call in calls])
    tx.execute(text("SELECT setval('call_record_id', greatest(nextval('call_record_id'), 42))"))


def _call(number: int, start: str, duration: int, amount: int, uniqueid: str) -> dict[str, object]:
    began = _utc(start)
    return {
        "id": number,
        "start_time": began,
        "end_time": began + timedelta(seconds=duration),
        "duration": duration,
        "amount": Decimal(amount),
        "uniqueid": uniqueid,
        "source": "0899123456",
        "destination": "0123456789",
    }


def _utc(text_of_moment: str) -> datetime:
    return datetime.fromisoformat(text_of_moment).replace(tzinfo=UTC)
