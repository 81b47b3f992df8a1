"""Customers over HTTP: exact numbers, read your writes, lists and filters."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.ledger import apply_everything, events


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("0.1", "0.1"), ("0.30000", "0.3"), ("12", "12"), ("12.0", "12"), ("-0.00001", "-0.00001"), ("-0", "0"),
        ("-0.0", "0"), ("9999999999.99999", "9999999999.99999"), ("-9999999999.99999", "-9999999999.99999"),
        ("1e2", "100"), ("1.5e1", "15"), ("123456.7", "123456.7"), ("0.00001", "0.00001"),
    ],
)  # fmt: skip
def test_a_credit_is_shown_digit_by_digit_as_it_was_sent(api, customer, sent, shown):
    assert api.put(f"/v1/customer/{customer}/credit", raw=f'{{"credit": {sent}}}'.encode()).status == 200
    assert f'"credit":{shown},'.encode() in api.get(f"/v1/customer/{customer}").body


@settings(max_examples=50, deadline=None)
@given(credit=st.decimals(Decimal("-9999999999.99999"), Decimal("9999999999.99999"), places=5))
def test_every_credit_survives_the_way_there_and_back(app, engine, credit):
    api, customer = shared(app, engine)
    api.put(f"/v1/customer/{customer}/credit", raw=f'{{"credit": {credit:f}}}'.encode())
    assert Decimal(api.get(f"/v1/customer/{customer}").json["credit"]) == credit


_shared: list = []


def shared(app, engine):
    """One client and customer for all examples of a property."""
    from service.access.keys import create_client
    from tests.support.client import add_customer, api_client

    if not _shared:
        client = create_client(engine, "properties")
        _shared.extend([api_client(app, engine, client), add_customer(engine, client)])
    return _shared


def test_a_change_is_read_at_once_though_no_worker_is_alive(api, customer):
    api.put(f"/v1/customer/{customer}/credit", {"credit": 77})
    api.put(f"/v1/customer/{customer}/status", {"status": "expired"})
    one = api.get(f"/v1/customer/{customer}").json
    [listed] = api.get("/v1/customer").json["data"]
    assert (one["credit"], one["status"]) == (77, 5)
    assert listed == one
    assert api.get("/v1/customer?credit_gt=76&status=expired").json["total"] == 1
    assert api.get("/v1/customer?credit_lt=77").json["total"] == 0


@pytest.mark.parametrize(("name", "code"), [("active", 1), ("expired", 5), ("cancelled", 0), ("suspended", 6)])
def test_the_four_names_write_their_codes(api, customer, name, code):
    api.put(f"/v1/customer/{customer}/status", {"status": name, "reason": "Quá hạn thanh toán"})
    assert api.get(f"/v1/customer/{customer}").json["status"] == code


def test_the_event_says_which_key_asked_in_which_request_and_why(api, engine, customer):
    api.put(f"/v1/customer/{customer}/credit", {"credit": 1, "reason": "nạp thẻ"}, headers={"X-Request-Id": "req-9"})
    event = events(engine, customer)[-1]
    key_id = api.post("/v1/auth/token", {"api_key": api.key}).json["data"]["user_id"]
    assert (event.actor, event.request_id, event.reason) == (f"key:{key_id}", "req-9", "nạp thẻ")


def test_lists_page_through_everybody_once_in_the_order_of_ids(api, new_customer):
    ids = sorted(new_customer() for _ in range(25))
    pages = [api.get(f"/v1/customer?limit=10&offset={offset}").json for offset in (0, 10, 20, 30)]
    assert [row["id"] for page in pages for row in page["data"]] == ids
    assert {page["total"] for page in pages} == {25}
    assert pages[1]["limit"] == 10
    assert pages[1]["offset"] == 10


def test_filters_narrow_the_list_and_its_total(api, new_customer, engine):
    rich = new_customer(credit=Decimal("100.5"), id_group=7, username="0911111111", caller_ids=["02811", "02812"])
    poor = new_customer(credit=Decimal("-3"), id_group=8)
    apply_everything(engine)
    for query, expected in [
        ("credit_gt=100.49999", [rich]), ("credit_gt=100.5", []), ("credit_lt=0", [poor]), ("id_group=8", [poor]),
        ("username=0911111111", [rich]), ("caller_id=02812", [rich]), ("caller_id=02813", []),
        ("status=active&id_group=7", [rich]), ("status=5", []), ("credit_lt=-2&credit_gt=-4", [poor]),
    ]:  # fmt: skip
        page = api.get(f"/v1/customer?{query}").json
        assert ([row["id"] for row in page["data"]], page["total"]) == (expected, len(expected)), query


def test_a_customer_without_caller_ids_is_found_and_shows_none(api, customer):
    assert api.get(f"/v1/customer/{customer}").json["caller_ids"] == []


def test_a_body_may_say_utf8_and_hold_vietnamese(api, engine, customer):
    raw = json.dumps({"credit": 5, "reason": "Trừ tiền điện thoại"}, ensure_ascii=False).encode()
    answer = api.put(f"/v1/customer/{customer}/credit", raw=raw, content_type="application/json; charset=utf-8")
    assert answer.status == 200
    assert events(engine, customer)[-1].reason == "Trừ tiền điện thoại"
