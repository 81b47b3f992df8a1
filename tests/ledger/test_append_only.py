"""Promise 1: an event is never changed, removed or truncated away, whoever asks."""

from __future__ import annotations

from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from service.db.transaction import transaction
from service.ledger.append import append_one
from service.ledger.command import Caller, set_credit

CHANGES = [
    "UPDATE ledger_event SET amount = 1 WHERE customer_id = :id",
    "UPDATE ledger_event SET hash = '' WHERE customer_id = :id",
    "DELETE FROM ledger_event WHERE customer_id = :id",
    "TRUNCATE ledger_event",
    "TRUNCATE ledger_event CASCADE",
    "INSERT INTO ledger_event SELECT * FROM ledger_event WHERE customer_id = :id"
    " ON CONFLICT (customer_id, seq) DO UPDATE SET amount = 1",
]


@pytest.fixture
def written(engine, client_id, customer):
    append_one(engine, set_credit(Caller(client_id, "test"), f"id:{customer}", Decimal(5)))
    return customer


def assert_refused(engine, *statements, **parameters):
    """The last statement is refused by the guard; whatever came before it in the transaction is gone with it."""
    *before, last = map(text, statements)
    with transaction(engine) as tx:
        for statement in before:
            tx.execute(statement)
        with pytest.raises(DBAPIError, match="append-only"):
            tx.execute(last, parameters)
        tx.rollback()


@pytest.mark.parametrize("statement", CHANGES)
@pytest.mark.parametrize("role", ["origin", "replica", "local"])
def test_events_refuse_every_change_under_every_replication_role(engine, written, statement, role):
    assert_refused(engine, f"SET LOCAL session_replication_role = {role}", statement, id=written)


@pytest.mark.parametrize("statement", CHANGES)
def test_events_refuse_every_change_by_an_ordinary_role_with_all_privileges(engine, written, statement):
    role = f"writer_{written}"
    granted = f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}"
    assert_refused(engine, f"CREATE ROLE {role}", granted, f"SET LOCAL ROLE {role}", statement, id=written)


def test_a_merge_cannot_change_an_event_either(engine, written):
    merge = """
        MERGE INTO ledger_event e USING (SELECT CAST(:id AS bigint) AS id) AS given ON e.customer_id = given.id
        WHEN MATCHED THEN DELETE
    """
    assert_refused(engine, merge, id=written)
