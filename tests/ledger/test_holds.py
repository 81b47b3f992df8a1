"""Holds at the door: what only the clock, or a call that is made again, can ask for."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from service import clock
from service.errors import Invalid
from service.ledger.append import append, append_one
from service.ledger.command import Caller, add_credit, expire_hold, hold
from tests.support.ledger import stream


@pytest.fixture
def caller(client_id):
    return Caller(client_id, "test")


def in_a_minute():
    return clock.now() + timedelta(minutes=1)


def test_a_hold_does_not_expire_before_its_time(engine, caller, new_customer):
    customer = new_customer(credit=Decimal(5))
    held = append_one(engine, hold(caller, f"id:{customer}", Decimal(5), in_a_minute()))
    with pytest.raises(Invalid):
        append_one(engine, expire_hold(caller, (customer, held.seq)))
    assert stream(engine, customer).held == 5


def test_what_was_done_before_is_told_alike_warnings_and_all(engine, caller, new_customer):
    customer = new_customer(credit=Decimal(5), credit_notification=Decimal(3), creditlimit=Decimal(10))
    for command in (
        hold(caller, f"id:{customer}", Decimal(4), in_a_minute()),
        add_credit(caller, f"id:{customer}", Decimal(-11)),
    ):
        [first] = append(engine, [command])
        assert append(engine, [command], again=True) == [first]
    assert (first.seq, first.last_seq, first.available) == (3, 5, 0)


def test_a_call_that_is_made_again_leaves_lapsed_holds_out_as_the_first_did(engine, caller, new_customer):
    customer = new_customer(credit=Decimal(10))
    append_one(engine, hold(caller, f"id:{customer}", Decimal(5), clock.now() - timedelta(seconds=1)))
    command = add_credit(caller, f"id:{customer}", Decimal(1))
    [first] = append(engine, [command])
    assert (first.available, append(engine, [command], again=True)) == (11, [first])
