"""`flask ledger verify` on a ledger that the first release began: events of format 1, alone and before newer ones."""

from __future__ import annotations

import uuid
from dataclasses import replace
from decimal import Decimal

import pytest
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.engine import make_url

from service.db.engine import make_engine
from service.ledger.append import append_one
from service.ledger.command import Caller, add_credit, set_limits
from service.ledger.proof.rebuild import Rebuilt, rebuild
from service.ledger.proof.verify import verify
from tests.support import servers
from tests.support.ledger import apply_everything, events, rows
from tests.support.tampering import AWKWARD, broken, tamper


def test_events_of_format_1_hold_alone_and_before_events_of_format_2(old_ledger):
    engine, client = old_ledger
    assert {event.hash_format for event in events(engine, 1)} == {1}
    assert verify(engine).events == 6
    caller = Caller(client, "key:1")
    append_one(engine, add_credit(caller, "id:1", Decimal(-30)))  # below zero: the limit from before is good for that
    append_one(engine, set_limits(caller, "id:1", {"credit_notification": Decimal(3)}))
    append_one(engine, set_limits(caller, "id:2", {"creditlimit": None}))
    assert verify(engine).events == 10  # one of them a warning
    apply_everything(engine)
    assert verify(engine).events == 10
    tamper(engine, "UPDATE stream SET creditlimit = 99 WHERE customer_id = 1")
    assert broken(engine).what == "creditlimit of the head"


@pytest.mark.parametrize(
    ("change", "what"),
    [("held_after = 1", "held_after"), ("creditlimit_after = 99", "creditlimit_after"), ("detail = '{}'", "detail"),
     ("position = 9", "position"), ("refers_to = 1", "refers_to"), ("idempotency_key = 'x'", "key")],
)  # fmt: skip
def test_what_format_1_does_not_cover_is_as_the_migration_left_it(old_ledger, change, what):
    engine, _ = old_ledger
    tamper(engine, f"UPDATE ledger_event SET {change} WHERE customer_id = 1 AND seq = 2")
    found = broken(engine)
    assert (found.customer_id, found.seq, found.what) == (1, 2, what)


def test_a_rebuild_keeps_the_limit_that_events_of_format_1_do_not_tell(old_ledger):
    engine, _ = old_ledger
    apply_everything(engine)
    assert rebuild(engine) == Rebuilt(customers=2)
    tamper(engine, "UPDATE customer SET creditlimit = 99, credit = 99")
    assert rebuild(engine) == Rebuilt(customers=2, corrected=2)
    assert rows(engine, "SELECT credit, creditlimit FROM customer ORDER BY id") == [
        (Decimal("2.5"), Decimal(50)),
        (Decimal("2.5"), None),
    ]


@pytest.fixture
def old_ledger(config):
    """Two customers of the first door, one with a credit limit, whose ledger was then migrated."""
    with servers.empty(f"pbx_old_{uuid.uuid4().hex[:8]}") as url:
        servers.migrate(url, "0006_webhooks")
        old = create_engine(url, poolclass=NullPool)
        with old.begin() as tx:
            client = tx.scalar(text("INSERT INTO client (name) VALUES ('old') RETURNING id"))
            for n, limit in ((1, 50), (2, None)):
                tx.execute(_OLD_CUSTOMER, {"id": n, "client": client, "limit": limit})
                tx.execute(_OLD_STREAM, {"id": n, "client": client})
                tx.execute(_OLD_APPEND, {"client": client, "ref": f"id:{n}", "reason": AWKWARD})
        old.dispose()
        servers.migrate(url)
        engine = make_engine(replace(config, database_url=make_url(url)))
        yield engine, client
        engine.dispose()


_OLD_CUSTOMER = text(
    "INSERT INTO customer (id, client_id, username, useralias, creditlimit) VALUES (:id, :client, :id, :id, :limit)"
)
_OLD_STREAM = text("INSERT INTO stream (customer_id, client_id, status) VALUES (:id, :client, 1)")
_OLD_APPEND = text("""
    SELECT * FROM ledger_append(
        array_fill(CAST(:client AS uuid), ARRAY[3]), array_fill(CAST(:ref AS text), ARRAY[3]),
        ARRAY[gen_random_uuid(), gen_random_uuid(), gen_random_uuid()],
        ARRAY['customer.created', 'credit.set', 'status.set'], ARRAY[1, 2.5, NULL], ARRAY[1, NULL, 6]::smallint[],
        array_fill(CAST(:reason AS text), ARRAY[3]), array_fill(NULL::text, ARRAY[3]),
        array_fill('old'::text, ARRAY[3]), array_fill(NULL::text, ARRAY[3]))
""")
