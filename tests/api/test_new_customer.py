"""Customers and caller ids made over HTTP, and told of in the streams."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from tests.support.ledger import apply_everything, assert_applied, assert_sound, events


def username():
    return f"{random.randrange(10**10):010}"


@pytest.fixture
def made(api):
    """A customer made over HTTP: its id."""
    return int(api.post("/v1/customer", {"username": username(), "credit": 5}).json["id"])


def test_a_customer_is_made_found_and_its_opening_credit_is_an_event(api, engine):
    name = username()
    answer = api.post("/v1/customer", {"username": name, "type_paid": 0, "cid": "+84 901", "credit": 12.5})
    assert list(answer.json) == ["message", "id", "username", "cid", "status"]
    assert {**answer.json, "id": None} == {
        "message": "successfully", "id": None, "username": name, "cid": "+84 901", "status": 1,
    }  # fmt: skip
    customer = int(answer.json["id"])
    assert (answer.headers["ETag"], answer.headers["Ledger-Event"]) == ('"1"', f"evt_{customer}_1")
    for ref in (name, "+84 901", str(customer)):
        shown = api.get(f"/v1/customer/{ref}").json
        assert (shown["credit"], shown["activated"], shown["status"]) == (Decimal("12.5"), "t", 1)
        assert shown["caller_ids"] == [{"cid": "+84 901", "activated": "t"}]
    [event] = events(engine, customer)
    assert (event.kind, event.delta, event.detail["username"]) == ("customer.created", Decimal("12.5"), name)
    assert event.detail["caller_ids"] == ["+84 901"]
    assert_sound(engine, customer)
    apply_everything(engine)
    assert_applied(engine, customer)


def test_postpaid_has_a_limit_that_counts_from_the_first_moment(api, engine):
    body = {"username": username(), "type_paid": 1}
    assert api.post("/v1/customer", body).error == "credit_limit: is required when type_paid is 1"
    customer = api.post("/v1/customer", {**body, "credit_limit": 20.5, "credit_notification": 3}).json["id"]
    shown = api.get(f"/v1/customer/{customer}/balance").json
    assert (shown["creditlimit"], shown["available"], shown["credit_notification"]) == (
        Decimal("20.5"), Decimal("20.5"), 3,
    )  # fmt: skip
    assert api.put(f"/v1/customer/{customer}/credit/add", {"credit": -20.5}).status == 200


def test_every_field_of_the_reference_can_be_given(api):
    body = {
        "username": username(), "useralias": f"alias {username()}", "status": "suspended", "activated": "f",
        "enableexpire": 1, "expirationdate": "2031-05-31 10:15:27", "expiredays": 7, "id_group": 2, "reason": "mới",
    }  # fmt: skip
    shown = api.get(f"/v1/customer/{api.post('/v1/customer', body).json['id']}").json
    assert {key: shown[key] for key in body if key in shown} == {
        **{key: body[key] for key in body if key != "reason"},
        "status": 6,
        "expirationdate": "2031-05-31T10:15:27Z",
    }


def test_a_name_that_is_taken_is_named_and_nothing_is_left_behind(api, engine, client_id):
    taken = {"username": username(), "useralias": f"alias {username()}", "cid": f"cid {username()}"}
    assert api.post("/v1/customer", taken).status == 200
    for field, value in taken.items():
        answer = api.post("/v1/customer", {"username": username(), field: value, "reference": "R-9"})
        assert (answer.status, answer.error) == (409, f"{field} is taken already")
    assert api.post("/v1/customer", {"username": username(), "reference": "R-9"}).status == 200
    again = api.post("/v1/customer", {"username": username(), "reference": "R-9"})
    assert again.error.startswith("reference 'R-9' was used already, by evt_")
    assert api.get("/v1/customer").json["total"] == 2


def test_two_clients_may_use_one_name(api, foreign_api):
    body = {"username": username(), "cid": "0123", "useralias": "same"}
    assert [client.post("/v1/customer", body).status for client in (api, foreign_api)] == [200, 200]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "username: is required"),
        ({"username": "12345"}, "username: must be 10 digits"),
        ({"username": "٠١٢٣٤٥٦٧٨٩"}, "username: must be 10 digits"),
        ({"username": 1234567890}, "username: must be 10 digits"),
        ({"type_paid": 2}, "type_paid: must be a whole number from 0 to 1"),
        ({"type_paid": True}, "type_paid: must be a whole number from 0 to 1"),
        ({"credit_limit": -1}, "credit_limit: must not be negative"),
        ({"credit": "5"}, "credit: must be a number"),
        ({"cid": ""}, "cid: must have at least 1 and at most 100 characters"),
        ({"cid": "a/b"}, "cid: must not hold control characters or a slash"),
        ({"cid": "a\nb"}, "cid: must not hold control characters or a slash"),
        ({"activated": "yes"}, "activated: must be t or f"),
        ({"enableexpire": 1}, "expirationdate: is required when enableexpire is 1"),
        ({"enableexpire": 2}, "expiredays: must be at least 1 when enableexpire is 2 or 3"),
        ({"enableexpire": 4}, "enableexpire: must be a whole number from 0 to 3"),
        ({"expirationdate": 5}, "expirationdate: must be a moment, such as 2030-01-31 00:00:00"),
        ({"expirationdate": "tomorrow"}, "expirationdate: not a date and time like"),
        ({"password": "x"}, "password: unknown field"),
    ],
)
def test_nonsense_is_refused_by_name(api, body, error):
    answer = api.post("/v1/customer", {"username": username(), **body} if body else body)
    assert answer.status == 400
    assert answer.error.startswith(error)


class TestCallerIds:
    def test_one_is_added_and_told_of(self, api, engine, made):
        answer = api.post("/v1/callerid", {"user_id": str(made), "cid": "0281"})
        assert answer.body == f'{{"cid":"0281","message":"successfully","user_id":"{made}"}}'.encode()
        assert api.get("/v1/customer/caller_id:0281").json["id"] == made
        event = events(engine, made)[-1]
        assert (event.kind, event.detail, event.delta) == ("callerid.added", {"cid": "0281"}, 0)
        assert_sound(engine, made)

    def test_one_that_is_taken_is_refused_also_by_its_owner(self, api, engine, made):
        api.post("/v1/callerid", {"user_id": str(made), "cid": "0282"})
        for owner in (made, int(api.post("/v1/customer", {"username": username()}).json["id"])):
            answer = api.post("/v1/callerid", {"user_id": owner, "cid": "0282"})
            assert (answer.status, answer.error) == (409, "cid is taken already")
        assert len(events(engine, made)) == 2

    def test_one_that_moves_is_told_of_in_both_streams(self, api, engine, made):
        other = int(api.post("/v1/customer", {"username": username()}).json["id"])
        api.post("/v1/callerid", {"user_id": made, "cid": "+84 (28) 3"})
        answer = api.put("/v1/callerid/+84 (28) 3", {"user_id": str(other), "reference": "MOVE-1"})
        assert answer.json == {"cid": "+84 (28) 3", "message": "successfully", "user_id": str(other)}
        assert answer.headers["Ledger-Event"] == f"evt_{other}_2"
        assert [event.kind for event in events(engine, made)][2:] == ["callerid.removed"]
        assert events(engine, other)[-1].detail == {"cid": "+84 (28) 3"}
        assert api.get("/v1/customer/+84 (28) 3").json["id"] == other
        assert api.get(f"/v1/customer/{made}").json["caller_ids"] == []
        apply_everything(engine)
        for customer in (made, other):
            assert_sound(engine, customer)
            assert_applied(engine, customer)

    def test_one_that_stays_where_it_is_changes_nothing(self, api, engine, made):
        api.post("/v1/callerid", {"user_id": made, "cid": "0284"})
        assert api.put("/v1/callerid/0284", {"user_id": made}).status == 200
        assert len(events(engine, made)) == 2

    def test_nobody_and_nothing_are_not_found(self, api, made):
        assert api.post("/v1/callerid", {"user_id": "9223372036854775807", "cid": "1"}).error == "customer not found"
        assert api.put("/v1/callerid/0285", {"user_id": made}).error == "caller id not found"

    @pytest.mark.parametrize("user_id", ["0", "-1", "1.0", 1.5, True, "9223372036854775808", "", "a", "٣"])
    def test_what_is_no_customers_id_is_refused(self, api, user_id):
        answer = api.post("/v1/callerid", {"user_id": user_id, "cid": "0286"})
        assert (answer.status, answer.error) == (400, "user_id: must be a customer's id")
