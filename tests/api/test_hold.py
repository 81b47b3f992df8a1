"""Holds: made, captured, released, expired; each an event, and each ends once."""

from __future__ import annotations

from decimal import Decimal

import pytest
from sqlalchemy import text

from service.db.transaction import transaction
from service.ledger.holds import expire_holds
from tests.support.ledger import all_of, apply_everything, assert_applied, assert_sound, events, projection


@pytest.fixture
def held(api, new_customer):
    """A customer with 10, of which 4 are held: its id and the hold's."""
    customer = new_customer(credit=10)
    return customer, hold(api, customer, 4).json["id"]


def hold(api, customer, amount, seconds=600, **more):
    return api.post(f"/v1/customer/{customer}/hold", {"amount": amount, "expires_in": seconds, **more})


def balance(api, customer):
    shown = api.get(f"/v1/customer/{customer}/balance").json
    return shown["credit"], shown["held"], shown["available"]


def let_pass(engine, hold_id):
    """Make the time of a hold be over."""
    _, customer, seq = hold_id.split("_")
    with transaction(engine) as tx:
        tx.execute(
            text("UPDATE hold SET expires_at = now() - interval '1 second' WHERE customer_id = :c AND seq = :s"),
            {"c": int(customer), "s": int(seq)},
        )


def test_what_is_held_is_shown_and_not_available(api, engine, held):
    customer, _ = held
    assert balance(api, customer) == (10, 4, 6)
    assert hold(api, customer, 6.00001).error == "insufficient credit"
    assert api.put(f"/v1/customer/{customer}/credit/add", {"credit": -7}).error == "insufficient credit"
    assert hold(api, customer, 6).json["available"] == 0
    apply_everything(engine)
    assert projection(engine, customer).held == 10


def test_a_capture_takes_a_part_and_frees_the_rest(api, engine, held):
    customer, held_id = held
    answer = api.put(f"/v1/hold/{held_id}/capture", {"amount": 1.5, "reason": "cuộc gọi"})
    assert answer.json == {
        "id": held_id, "message": "successfully", "customer_id": str(customer),
        "credit": Decimal("8.5"), "available": Decimal("8.5"),
    }  # fmt: skip
    event = events(engine, customer)[-1]
    assert (event.kind, event.delta, event.held_after, event.refers_to) == ("hold.captured", Decimal("-1.5"), 0, 2)
    shown = api.get(f"/v1/hold/{held_id}").json
    assert (shown["status"], shown["amount"], shown["captured"]) == ("captured", 4, Decimal("1.5"))
    assert_sound(engine, customer)
    apply_everything(engine)
    assert_applied(engine, customer)


@pytest.mark.parametrize("options", [{"body": {}}, {"body": {"amount": None}}, {}])
def test_without_an_amount_all_of_it_is_captured(api, held, options):
    customer, held_id = held
    assert api.put(f"/v1/hold/{held_id}/capture", options.get("body")).json["credit"] == 6
    assert balance(api, customer) == (6, 0, 6)


def test_more_than_was_held_is_not_captured_though_there_is_more(api, engine, held):
    customer, held_id = held
    answer = api.put(f"/v1/hold/{held_id}/capture", {"amount": 4.00001})
    assert (answer.status, answer.error) == (409, "insufficient credit")
    assert len(events(engine, customer)) == 2


def test_a_capture_goes_through_though_the_credit_was_set_below_the_floor_meanwhile(api, held):
    customer, held_id = held
    api.put(f"/v1/customer/{customer}/credit", {"credit": 0})
    assert api.put(f"/v1/hold/{held_id}/capture").json["credit"] == -4


def test_a_release_frees_all_of_it(api, engine, held):
    customer, held_id = held
    assert api.put(f"/v1/hold/{held_id}/release").json["available"] == 10
    assert (events(engine, customer)[-1].kind, events(engine, customer)[-1].delta) == ("hold.released", 0)
    assert api.get(f"/v1/hold/{held_id}").json["status"] == "released"


@pytest.mark.parametrize("first", ["capture", "release"])
@pytest.mark.parametrize("second", ["capture", "release"])
def test_a_hold_ends_once(api, engine, held, first, second):
    customer, held_id = held
    assert api.put(f"/v1/hold/{held_id}/{first}").status == 200
    answer = api.put(f"/v1/hold/{held_id}/{second}")
    assert (answer.status, answer.error) == (409, f"{held_id} was {first}d already")
    assert len(events(engine, customer)) == 3


class TestItsTimeIsOver:
    def test_the_clock_says_so_in_an_event_of_its_own(self, api, engine, held):
        customer, held_id = held
        let_pass(engine, held_id)
        assert f"evt_{customer}_3" in [done.event_id for done in all_of(expire_holds, engine)]
        event = events(engine, customer)[-1]
        assert (event.kind, event.actor, event.delta, event.held_after) == ("hold.expired", "system", 0, 0)
        assert api.get(f"/v1/hold/{held_id}").json["status"] == "expired"
        assert f"evt_{customer}_3" not in [done.event_id for done in all_of(expire_holds, engine)]
        assert_sound(engine, customer)

    def test_before_the_clock_has_come_by_nothing_is_held_any_more(self, api, engine, held):
        customer, held_id = held
        let_pass(engine, held_id)
        assert api.get(f"/v1/hold/{held_id}").json["status"] == "expired"
        assert balance(api, customer) == (10, 0, 10)
        for way in ("capture", "release"):
            assert api.put(f"/v1/hold/{held_id}/{way}").error == f"{held_id} has expired"
        assert hold(api, customer, 10).status == 200
        assert hold(api, customer, 0.00001).status == 409
        all_of(expire_holds, engine)
        assert balance(api, customer) == (10, 10, 0)
        assert_sound(engine, customer)

    def test_one_that_was_captured_in_time_does_not_expire(self, api, engine, held):
        customer, held_id = held
        api.put(f"/v1/hold/{held_id}/capture")
        let_pass(engine, held_id)
        all_of(expire_holds, engine)
        assert [event.kind for event in events(engine, customer)][2:] == ["hold.captured"]

    def test_one_whose_time_is_not_over_is_left_alone(self, engine, held):
        customer, _ = held
        all_of(expire_holds, engine)
        assert len(events(engine, customer)) == 2


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"amount": 0, "expires_in": 60}, "amount: must be more than 0"),
        ({"amount": -1, "expires_in": 60}, "amount: must be more than 0"),
        ({"amount": "1", "expires_in": 60}, "amount: must be a number"),
        ({"amount": 1}, "expires_in: is required"),
        ({"amount": 1, "expires_in": 0}, "expires_in: must be a whole number from 1 to 2592000"),
        ({"amount": 1, "expires_in": 1.5}, "expires_in: must be a whole number from 1 to 2592000"),
        ({"amount": 1, "expires_in": True}, "expires_in: must be a whole number from 1 to 2592000"),
    ],
)
def test_nonsense_is_refused_by_name(api, customer, body, error):
    answer = api.post(f"/v1/customer/{customer}/hold", body)
    assert (answer.status, answer.error) == (400, error)


@pytest.mark.parametrize("nobodys", ["hold_1_0", "hold_0_1", "evt_1_1", "1", "hold_1_9223372036854775808", "hold_1_x"])
def test_what_is_no_holds_id_is_not_found(api, nobodys):
    for answer in (api.get(f"/v1/hold/{nobodys}"), api.put(f"/v1/hold/{nobodys}/release")):
        assert (answer.status, answer.error) == (404, "hold not found")


def test_an_event_that_is_no_hold_is_not_found_as_one(api, held):
    customer, _ = held
    assert api.put(f"/v1/hold/hold_{customer}_1/capture").error == "hold not found"
