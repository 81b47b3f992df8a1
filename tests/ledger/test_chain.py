"""Promise 4: a changed event shows, because the hashes can be worked out without the database that wrote them."""

from __future__ import annotations

from dataclasses import fields, replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.ledger.append import append_one
from service.ledger.chain import Link, event_hash
from service.ledger.command import Caller, set_credit, set_status
from service.ledger.event import Status
from tests.support.ledger import assert_sound, events

TEXT = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=60)


@settings(max_examples=60, deadline=None)
@given(
    amount=st.decimals(Decimal("-9999999999.99999"), Decimal("9999999999.99999"), places=5),
    reason=TEXT,
    status=st.sampled_from(Status),
)
def test_python_and_sql_work_out_the_same_hash(engine_and_customer, amount, reason, status):
    engine, caller, customer = engine_and_customer
    append_one(engine, set_credit(caller, f"id:{customer}", amount, reason))
    append_one(engine, set_status(caller, f"id:{customer}", status, reason))
    assert_sound(engine, customer)


@pytest.fixture(scope="module")
def engine_and_customer(engine):
    from service.access.keys import create_client
    from tests.support.client import add_customer

    client = create_client(engine, "chain")
    return engine, Caller(client, "test"), add_customer(engine, client)


def test_every_field_of_an_event_counts(engine, client_id, customer):
    append_one(engine, set_credit(Caller(client_id, "a", "r"), f"id:{customer}", Decimal(3), "why"))
    row = events(engine, customer)[-1]
    previous = events(engine, customer)[0].hash
    link = Link(**{field.name: getattr(row, field.name) for field in fields(Link)})
    assert event_hash(previous, link) == row.hash
    changed = {
        "customer_id": 0, "seq": 9, "client_id": link.command_id, "command_id": link.client_id, "kind": "x",
        "amount": Decimal(4), "delta": Decimal(4), "balance_after": Decimal(4), "status_after": 5, "reason": "wh",
        "reference": "y", "actor": "b", "request_id": None, "recorded_at": link.recorded_at.replace(microsecond=1),
    }  # fmt: skip
    assert changed.keys() == {field.name for field in fields(Link)}
    for name, value in changed.items():
        assert event_hash(previous, replace(link, **{name: value})) != row.hash, name


def test_text_that_moves_from_one_field_to_the_next_changes_the_hash(engine, client_id, customer):
    row = events(engine, customer)[0]
    link = Link(**{field.name: getattr(row, field.name) for field in fields(Link)})
    one = event_hash(b"", replace(link, reason="ab", reference="c"))
    other = event_hash(b"", replace(link, reason="a", reference="bc"))
    assert one != other
