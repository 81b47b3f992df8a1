"""Customers expire by themselves: the clock says so in an event, and a read knows it before."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from service import clock
from service.customers import expiry
from service.customers.expiry import expire_customers
from service.db.transaction import transaction
from service.ledger.event import Status
from tests.support.ledger import all_of, apply_everything, assert_applied, assert_sound, events, rows

DAY = timedelta(days=1)
YESTERDAY = clock.now() - DAY
TOMORROW = clock.now() + DAY

OVER = [
    {"enableexpire": 1, "expirationdate": YESTERDAY},
    {"enableexpire": 2, "expiredays": 3, "firstusedate": clock.now() - 4 * DAY},
    {"enableexpire": 3, "expiredays": 3, "creationdate": clock.now() - 4 * DAY},
]
NOT_OVER = [
    {"enableexpire": 0, "expirationdate": YESTERDAY, "expiredays": 1, "creationdate": clock.now() - 4 * DAY},
    {"enableexpire": 1, "expirationdate": TOMORROW},
    {"enableexpire": 1},
    {"enableexpire": 2, "expiredays": 3, "creationdate": clock.now() - 9 * DAY},  # never used
    {"enableexpire": 2, "expiredays": 3, "firstusedate": clock.now() - 2 * DAY},
    {"enableexpire": 3, "expiredays": 0, "creationdate": clock.now() - 4 * DAY},
    {"enableexpire": 3, "expiredays": 3, "creationdate": clock.now() - 2 * DAY},
]


def expire(engine, customer):
    """Let the clock come by; the events that it wrote for a customer."""
    return [done.event_id for done in all_of(expire_customers, engine) if done.customer_id == customer]


@pytest.mark.parametrize("fields", OVER)
def test_who_is_past_the_time_expires_once_by_the_system(api, engine, new_customer, fields):
    customer = new_customer(**fields)
    assert expire(engine, customer) == [f"evt_{customer}_2"]
    event = events(engine, customer)[-1]
    assert (event.kind, event.status_after, event.actor, event.delta) == ("status.set", Status.EXPIRED, "system", 0)
    assert expire(engine, customer) == []
    apply_everything(engine)
    assert expire(engine, customer) == []
    assert_sound(engine, customer)
    assert_applied(engine, customer)


@pytest.mark.parametrize("fields", NOT_OVER)
def test_who_is_not_stays_as_they_are(api, engine, new_customer, fields):
    customer = new_customer(**fields)
    assert expire(engine, customer) == []
    assert api.get(f"/v1/customer/{customer}").json["status"] == 1


@pytest.mark.parametrize("fields", OVER)
def test_a_read_shows_it_before_the_clock_has_come_by(api, new_customer, fields):
    customer = new_customer(**fields)
    path = f"/v1/customer/{customer}"
    one = api.get(path)
    assert one.json["status"] == Status.EXPIRED
    assert api.get(f"{path}/balance").json["status"] == Status.EXPIRED
    assert api.get("/v1/customer?status=expired").json["total"] == 1
    assert api.get("/v1/customer?status=active").json["total"] == 0
    assert api.get(path, headers={"If-None-Match": one.headers["ETag"]}).status == 200  # the seq does not tell yet


@pytest.mark.parametrize("status", [Status.CANCELLED, Status.SUSPENDED, Status.NEW, Status.LITIGATION])
def test_only_who_is_active_can_expire(api, engine, new_customer, status):
    customer = new_customer(status=status, **OVER[0])
    assert expire(engine, customer) == []
    assert api.get(f"/v1/customer/{customer}").json["status"] == status


def test_who_is_made_active_again_by_hand_stays_active(api, engine, new_customer):
    customer = new_customer(**OVER[0])
    expire(engine, customer)
    api.put(f"/v1/customer/{customer}/status", {"status": "active", "reason": "gia hạn"})
    apply_everything(engine)
    assert api.get(f"/v1/customer/{customer}").json["status"] == 1
    assert expire(engine, customer) == []


def test_who_was_suspended_before_the_time_and_is_reactivated_after_it_stays_active(api, engine, new_customer):
    customer = new_customer(enableexpire=1, expirationdate=clock.now() + timedelta(seconds=0.3))
    api.put(f"/v1/customer/{customer}/status", {"status": "active"})
    with transaction(engine) as tx:
        tx.execute(text("SELECT pg_sleep(0.5)"))
    assert api.get(f"/v1/customer/{customer}").json["status"] == Status.EXPIRED  # set before the time
    api.put(f"/v1/customer/{customer}/status", {"status": "active"})
    assert api.get(f"/v1/customer/{customer}").json["status"] == 1
    assert expire(engine, customer) == []


def test_whoever_changes_at_the_same_moment_is_left_to_the_next_turn(engine, new_customer):
    customer = new_customer(**OVER[0])
    with transaction(engine) as tx:
        tx.execute(text("SELECT FROM stream WHERE customer_id = :id FOR UPDATE"), {"id": customer})
        assert expire(engine, customer) == []
    assert expire(engine, customer) == [f"evt_{customer}_2"]


def test_who_changes_between_the_look_and_the_event_is_left_alone(api, engine, new_customer, monkeypatch):
    customer = new_customer(**OVER[0])
    append = expiry.append

    def overtaken(*args, **kwargs):
        api.put(f"/v1/customer/{customer}/status", {"status": "cancelled"})
        return append(*args, **kwargs)

    monkeypatch.setattr(expiry, "append", overtaken)
    assert expire(engine, customer) == []
    assert api.get(f"/v1/customer/{customer}").json["status"] == Status.CANCELLED


def test_who_is_beyond_it_is_not_looked_at_again(api, engine, new_customer):
    customer = new_customer(**OVER[0])
    expire(engine, customer)
    api.put(f"/v1/customer/{customer}/status", {"status": "active"})
    apply_everything(engine)
    condition = "status = 1 AND (status_at IS NULL OR status_at < expires_at)"  # of the index
    assert not rows(engine, f"SELECT FROM customer WHERE id = :id AND {condition}", id=customer)


@pytest.mark.parametrize("days", [36_501, 2_147_483_647])
def test_more_days_than_the_calendar_has_are_as_good_as_never(api, engine, new_customer, days):
    customer = new_customer(enableexpire=3, expiredays=days, creationdate=clock.now() - 4 * DAY)
    assert expire(engine, customer) == []
    assert api.get(f"/v1/customer/{customer}").json["status"] == 1


def test_the_clock_finds_them_by_an_index(engine):
    with transaction(engine) as tx:
        tx.execute(text("SET LOCAL enable_seqscan = off"))
        plan = tx.scalars(text("EXPLAIN " + expiry._DUE.text), {"limit": 500}).all()
    assert any("customer_expiring" in line for line in plan), plan


def test_days_are_days_of_utc_whatever_the_session_thinks(engine, new_customer):
    customer = new_customer(enableexpire=3, expiredays=1, creationdate=YESTERDAY)
    [row] = rows(engine, "SELECT expires_at - creationdate AS span FROM customer WHERE id = :id", id=customer)
    assert row.span == DAY
