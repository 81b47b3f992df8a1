"""The clock process: what ends by itself ends, is applied, and is told of."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from service import clock
from service.access.keys import create_client
from service.ledger.append import append_one
from service.ledger.command import Caller, hold
from tests.support.client import add_customer
from tests.support.ledger import assert_applied, assert_sound, events, projection
from tests.support.processes import until


def test_it_does_everything_that_needs_doing_again_and_again():
    from workers import clock as process

    assert {task.do for task in process.all_tasks()} == {
        process.ring_for_events, process.ring_for_deliveries, process.expire, process.seal, process.make_partitions,
        process.forget_keys, process.forget_webhooks, process.ring_for_exports, process.forget_exports,
    }  # fmt: skip


def test_a_hold_and_a_customer_end_when_their_time_is_over_and_not_before(processes, own_engine):
    client = create_client(own_engine, "clock")
    caller = Caller(client, "test")
    for name in ("worker", "clock"):
        processes.start(name)
        until(lambda name=name: "ready" in processes.log_of(name).read_text(), what=f"{name} is ready")
    soon = clock.now() + timedelta(seconds=5)
    holding = add_customer(own_engine, client, credit=Decimal(5))
    append_one(own_engine, hold(caller, f"id:{holding}", Decimal(5), soon))
    ending = add_customer(own_engine, client, enableexpire=1, expirationdate=soon)
    lasting = add_customer(own_engine, client, enableexpire=1, expirationdate=soon + timedelta(days=1))
    until(lambda: projection(own_engine, holding).held == 5, what="the hold is applied")
    assert clock.now() < soon
    until(lambda: projection(own_engine, holding).applied_seq == 4, what="the hold has expired")
    until(lambda: projection(own_engine, ending).status == 5, what="the customer has expired")
    assert clock.now() >= soon
    assert [(e.kind, e.actor) for e in events(own_engine, holding)][2:] == [
        ("credit.exhausted", "system"), ("hold.expired", "system"),
    ]  # fmt: skip
    assert [(e.kind, e.actor, e.status_after) for e in events(own_engine, ending)][1:] == [("status.set", "system", 5)]
    assert len(events(own_engine, lasting)) == 1
    for customer in (holding, ending, lasting):
        assert_sound(own_engine, customer)
        assert_applied(own_engine, customer)
