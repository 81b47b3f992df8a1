"""Promise 4: a changed event shows, because the hashes can be worked out without the database that wrote them."""

from __future__ import annotations

import uuid
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.ledger.append import append_one
from service.ledger.command import Caller, Why, set_credit, set_status
from service.ledger.event import Status
from service.ledger.proof.chain import FIELDS, hash_of
from tests.support.ledger import as_text, assert_sound, events

TEXT = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=60)


@settings(max_examples=60, deadline=None)
@given(
    amount=st.decimals(Decimal("-9999999999.99999"), Decimal("9999999999.99999"), places=5),
    reason=TEXT,
    status=st.sampled_from(Status),
)
def test_python_and_sql_work_out_the_same_hash(engine_and_customer, amount, reason, status):
    engine, caller, customer = engine_and_customer
    append_one(engine, set_credit(caller, f"id:{customer}", amount, Why(reason)))
    append_one(engine, set_status(caller, f"id:{customer}", status, Why(reason)))
    assert_sound(engine, customer)


@pytest.fixture(scope="module")
def engine_and_customer(engine):
    from service.access.keys import create_client
    from tests.support.client import add_customer

    client = create_client(engine, "chain")
    return engine, Caller(client, "test"), add_customer(engine, client)


def test_every_field_of_an_event_counts(engine, client_id, customer):
    why = Why("why", f"payment {uuid.uuid4()}")
    append_one(engine, set_credit(Caller(client_id, "a", "r", "key"), f"id:{customer}", Decimal(3), why))
    previous, event = (row.hash for row in events(engine, customer))
    texts = as_text(engine, customer, 2)
    assert hash_of(previous, texts) == event
    for name in FIELDS[2]:
        if name != "hash_format":
            assert hash_of(previous, {**texts, name: "9"}) != event, name
    assert hash_of(previous, {**texts, "hash_format": "1"}) != event


def test_text_that_moves_from_one_field_to_the_next_changes_the_hash(engine, client_id, customer):
    texts = as_text(engine, customer, 1)
    one = hash_of(b"", {**texts, "reason": "ab", "reference": "c"})
    other = hash_of(b"", {**texts, "reason": "a", "reference": "bc"})
    assert one != other
