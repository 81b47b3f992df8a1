"""Reversals: a change of credit is undone by its delta, in all never more than it was."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.support.ledger import apply_everything, assert_applied, assert_sound, events


def change(api, customer, **body):
    """Add to a credit; the event's id."""
    return api.put(f"/v1/customer/{customer}/credit/add", body).headers["Ledger-Event"]


def reverse(api, event_id, **body):
    return api.post(f"/v1/event/{event_id}/reversal", {"reason": "paid twice", **body})


def test_a_top_up_is_undone_and_the_reversal_refers_to_it(api, engine, customer):
    topped_up = change(api, customer, credit=25.5)
    answer = reverse(api, topped_up, reference="REFUND-1")
    assert answer.json == {
        "id": str(customer), "message": "successfully", "credit": 0,
        "event_id": f"evt_{customer}_3", "reverses": topped_up,
    }  # fmt: skip
    event = events(engine, customer)[2]
    assert (event.kind, event.delta, event.refers_to, event.reason, event.reference) == (
        "credit.reversed", Decimal("-25.5"), 2, "paid twice", "REFUND-1",
    )  # fmt: skip
    assert_sound(engine, customer)
    apply_everything(engine)
    assert_applied(engine, customer)


def test_a_second_whole_reversal_is_refused(api, engine, customer):
    topped_up = change(api, customer, credit=5)
    assert reverse(api, topped_up).status == 200
    answer = reverse(api, topped_up)
    assert (answer.status, answer.error) == (409, f"{topped_up} cannot be reversed by more than is left of it")
    assert answer.status == 409


def test_parts_add_up_to_the_whole_and_not_beyond(api, customer):
    topped_up = change(api, customer, credit=5)
    assert reverse(api, topped_up, amount=2).json["credit"] == 3
    assert reverse(api, topped_up, amount=3.00001).status == 409
    assert reverse(api, topped_up, amount=1).json["credit"] == 2
    assert reverse(api, topped_up).json["credit"] == 0
    assert reverse(api, topped_up, amount=0.00001).status == 409


def test_what_was_taken_is_given_back(api, new_customer):
    customer = new_customer(credit=10)
    taken = change(api, customer, credit=-4)
    assert reverse(api, taken).json["credit"] == 10


def test_a_set_is_undone_by_what_it_came_to(api, new_customer):
    customer = new_customer(credit=10)
    was_set = api.put(f"/v1/customer/{customer}/credit", {"credit": 25}).headers["Ledger-Event"]
    change(api, customer, credit=1)
    assert reverse(api, was_set).json["credit"] == 11


def test_a_capture_and_an_opening_credit_can_be_undone(api, new_customer):
    customer = new_customer(credit=10)
    hold = api.post(f"/v1/customer/{customer}/hold", {"amount": 4, "expires_in": 60}).json["id"]
    captured = api.put(f"/v1/hold/{hold}/capture").headers["Ledger-Event"]
    assert reverse(api, captured).json["credit"] == 10
    assert reverse(api, f"evt_{customer}_1").json["credit"] == 0


def test_a_reversal_of_a_reversal_is_refused(api, customer):
    reversal = reverse(api, change(api, customer, credit=5)).json["event_id"]
    answer = reverse(api, reversal)
    assert (answer.status, answer.error) == (409, f"{reversal} cannot be reversed")


def test_what_changed_no_credit_cannot_be_undone(api, new_customer):
    customer = new_customer(credit=0)
    status = api.put(f"/v1/customer/{customer}/status", {"status": "active"}).headers["Ledger-Event"]
    for event_id in (status, f"evt_{customer}_1"):
        assert reverse(api, event_id).error == f"{event_id} cannot be reversed"


def test_credit_that_is_spent_cannot_be_taken_back_below_the_floor(api, engine, customer):
    topped_up = change(api, customer, credit=5)
    change(api, customer, credit=-4)
    assert reverse(api, topped_up).error == "insufficient credit"
    assert reverse(api, topped_up, amount=1).status == 200
    assert len(events(engine, customer)) == 5  # created, added, taken, reversed in part, exhausted


def test_the_largest_swing_can_be_undone(api, new_customer):
    customer = new_customer(credit=Decimal("-9999999999.99999"))
    path = f"/v1/customer/{customer}/credit"
    was_set = api.put(path, raw=b'{"credit": 9999999999.99999}').headers["Ledger-Event"]
    api.put(f"/v1/customer/{customer}/limit", raw=b'{"credit_limit": 9999999999.99999}')
    assert reverse(api, was_set).json["credit"] == Decimal("-9999999999.99999")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"reason": None}, "reason: must be a text"),
        ({"reason": ""}, "reason: must have at least 1 and at most 255 characters"),
        ({"amount": 0}, "amount: must be more than 0"),
        ({"amount": -5}, "amount: must be more than 0"),
        ({"credit": 5}, "credit: unknown field"),
    ],
)
def test_nonsense_is_refused_by_name(api, customer, body, error):
    answer = reverse(api, change(api, customer, credit=5), **body)
    assert (answer.status, answer.error) == (400, error)


@pytest.mark.parametrize("nobodys", ["evt_1_0", "hold_1_1", "1", "evt_1_9223372036854775808"])
def test_what_is_no_events_id_is_not_found(api, nobodys):
    answer = reverse(api, nobodys)
    assert (answer.status, answer.error) == (404, "event not found")


def test_an_event_that_has_not_happened_is_not_found(api, customer):
    assert reverse(api, f"evt_{customer}_2").error == "event not found"
