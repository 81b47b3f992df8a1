"""Adding, the floor, warnings, references, and If-Match."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.access.keys import create_client
from tests.support.client import add_customer, api_client
from tests.support.ledger import apply_everything, assert_applied, assert_sound, events, projection

CENTS = st.decimals(Decimal(-1000), Decimal(1000), places=5)


def kinds(engine, customer):
    return [event.kind for event in events(engine, customer)]


def add(api, customer, amount, **options):
    return api.put(f"/v1/customer/{customer}/credit/add", raw=f'{{"credit": {amount}}}'.encode(), **options)


def test_what_is_added_is_added_to_what_is_there_and_the_answer_says_what_it_came_to(api, engine, new_customer):
    customer = new_customer(credit=Decimal("0.1"))
    answer = add(api, customer, "0.2")
    assert answer.body == f'{{"id":"{customer}","message":"successfully","credit":0.3}}'.encode()
    assert (answer.headers["ETag"], answer.headers["Ledger-Event"]) == ('"2"', f"evt_{customer}_2")
    event = events(engine, customer)[-1]
    assert (event.kind, event.amount, event.delta, event.balance_after) == (
        "credit.added", Decimal("0.2"), Decimal("0.2"), Decimal("0.3"),
    )  # fmt: skip


def test_taking_away_stops_at_the_floor_and_writes_nothing(api, engine, new_customer):
    customer = new_customer(credit=10, creditlimit=Decimal("2.5"))
    assert add(api, customer, "-12.50001").error == "insufficient credit"
    assert kinds(engine, customer) == ["customer.created"]
    assert add(api, customer, "-12.5").json["credit"] == Decimal("-2.5")
    assert add(api, customer, "-0.00001").status == 409
    assert add(api, customer, "0.00001").status == 200


def test_below_the_floor_after_a_set_one_may_still_add(api, new_customer):
    customer = new_customer(credit=10)
    assert api.put(f"/v1/customer/{customer}/credit", {"credit": -50}).status == 200
    assert add(api, customer, "-1").status == 409
    assert add(api, customer, "0").status == 200
    assert add(api, customer, "5").json["credit"] == -45


@pytest.mark.parametrize("amount", ["9999999999.99999", "1"])
def test_a_balance_that_would_not_fit_is_refused(api, engine, new_customer, amount):
    customer = new_customer(credit=Decimal("9999999999.99999"))
    answer = add(api, customer, amount)
    assert (answer.status, answer.error) == (409, "the balance would have more than 10 digits before the point")
    assert len(events(engine, customer)) == 1


_shared: list = []


@settings(max_examples=30, deadline=None)
@given(start=CENTS, limit=st.none() | st.decimals(0, 500, places=5), amounts=st.lists(CENTS, max_size=8))
def test_whatever_is_added_and_taken_the_sum_holds_and_the_floor_stands(app, engine, start, limit, amounts):
    if not _shared:
        _shared.append(api_client(app, engine, create_client(engine, "sums")))
    [api] = _shared
    customer = add_customer(engine, api.client_id, credit=start, creditlimit=limit)
    credit = start
    for amount in amounts:
        answer = add(api, customer, f"{amount:f}")
        if amount < 0 and credit + amount + (limit or 0) < 0:
            assert answer.status == 409
        else:
            credit += amount
            assert answer.json["credit"] == credit
    assert api.get(f"/v1/customer/{customer}").json["credit"] == credit
    assert_sound(engine, customer)
    apply_everything(engine)
    assert_applied(engine, customer)


class TestWarnings:
    def test_crossing_the_threshold_warns_once_and_again_after_it_rose(self, api, engine, new_customer):
        customer = new_customer(credit=10, credit_notification=5)
        for amount in ("-5", "-1", "-1", "3", "-2", "-1"):  # 5, 4, 3, 6, 4, 3
            add(api, customer, amount)
        assert kinds(engine, customer) == [
            "customer.created", "credit.added",
            "credit.added", "credit.low",
            "credit.added", "credit.added",
            "credit.added", "credit.low",
            "credit.added",
        ]  # fmt: skip

    def test_a_jump_far_below_warns_of_both_and_the_etag_counts_them_in(self, api, engine, new_customer):
        customer = new_customer(credit=10, credit_notification=5)
        answer = api.put(f"/v1/customer/{customer}/credit", {"credit": -100, "reason": "x"})
        assert (answer.headers["ETag"], answer.headers["Ledger-Event"]) == ('"4"', f"evt_{customer}_2")
        _, change, low, out = events(engine, customer)
        assert (low.kind, out.kind) == ("credit.low", "credit.exhausted")
        assert {(e.refers_to, e.delta, e.balance_after, e.actor, e.reason) for e in (low, out)} == {
            (2, 0, change.balance_after, "system", None)
        }
        assert low.detail == {"credit_notification": 5}
        assert_sound(engine, customer)

    def test_without_a_threshold_only_the_floor_warns_when_nothing_is_left(self, api, engine, new_customer):
        customer = new_customer(credit=10, creditlimit=5)
        add(api, customer, "-14")
        assert kinds(engine, customer)[1:] == ["credit.added"]
        add(api, customer, "-1")
        assert kinds(engine, customer)[2:] == ["credit.added", "credit.exhausted"]
        api.put(f"/v1/customer/{customer}/credit", {"credit": -20})
        assert kinds(engine, customer)[4:] == ["credit.set"]

    def test_a_hold_can_exhaust_but_does_not_make_low(self, api, engine, new_customer):
        customer = new_customer(credit=10, credit_notification=5)
        api.post(f"/v1/customer/{customer}/hold", {"amount": 10, "expires_in": 60})
        assert kinds(engine, customer)[1:] == ["hold.created", "credit.exhausted"]

    def test_neither_warns_of_what_a_customer_began_with(self, engine, new_customer):
        assert kinds(engine, new_customer(credit=0, credit_notification=5)) == ["customer.created"]

    def test_a_threshold_that_is_raised_above_the_credit_warns(self, api, engine, new_customer):
        customer = new_customer(credit=10)
        api.put(f"/v1/customer/{customer}/limit", {"credit_notification": 10})
        api.put(f"/v1/customer/{customer}/limit", {"credit_notification": 10.5})
        api.put(f"/v1/customer/{customer}/limit", {"credit_notification": None})
        assert kinds(engine, customer)[1:] == ["limit.set", "limit.set", "credit.low", "limit.set"]

    def test_they_are_delivered_as_events_of_their_own(self, api, engine, config, new_customer):
        from service.webhooks.endpoints import add_endpoint
        from service.webhooks.vault import vault_of
        from tests.support.ledger import rows

        allow = config.webhook_allow_networks
        add_endpoint(engine, api.client_id, "http://127.0.0.1:9/x", vault=vault_of(config), allow_networks=allow)
        customer = new_customer(credit=10, credit_notification=5)
        add(api, customer, "-10")
        apply_everything(engine)
        owed = rows(engine, "SELECT event_type FROM webhook_delivery WHERE customer_id = :id ORDER BY seq", id=customer)
        assert [row.event_type for row in owed] == [
            "customer.created", "customer.credit.changed", "customer.credit.low", "customer.credit.exhausted",
        ]  # fmt: skip


class TestLimits:
    def test_a_limit_moves_the_floor_is_shown_and_is_projected(self, api, engine, customer):
        path = f"/v1/customer/{customer}"
        answer = api.put(f"{path}/limit", {"credit_limit": 12.5, "credit_notification": -3, "reason": "postpaid"})
        assert answer.json == {"id": str(customer), "message": "successfully", "available": Decimal("12.5")}
        assert api.get(path).json["creditlimit"] == Decimal("12.5")
        assert add(api, customer, "-12.5").status == 200
        apply_everything(engine)
        assert_applied(engine, customer)
        api.put(f"{path}/limit", {"credit_limit": None})
        balance = api.get(f"{path}/balance").json
        assert (balance["creditlimit"], balance["available"], balance["credit_notification"]) == (
            None, Decimal("-12.5"), -3,
        )  # fmt: skip
        apply_everything(engine)
        assert_applied(engine, customer)
        assert_sound(engine, customer)

    @pytest.mark.parametrize("body", [{}, {"credit_limit": -1}, {"credit_limit": "1"}, {"reason": "x"}])
    def test_nonsense_is_refused(self, api, customer, body):
        answer = api.put(f"/v1/customer/{customer}/limit", body)
        assert answer.status == 400
        assert answer.error.startswith("credit_limit: ")

    def test_what_is_not_named_stays_in_the_projection_as_well(self, api, engine, new_customer):
        customer = new_customer(creditlimit=3, credit_notification=5)
        api.put(f"/v1/customer/{customer}/limit", {"credit_limit": 4})
        apply_everything(engine)
        assert (projection(engine, customer).creditlimit, projection(engine, customer).credit_notification) == (4, 5)
        api.put(f"/v1/customer/{customer}/limit", {"credit_notification": None})
        apply_everything(engine)
        assert (projection(engine, customer).creditlimit, projection(engine, customer).credit_notification) == (4, None)


class TestReferences:
    def test_a_payment_is_taken_once_by_a_client_whichever_customer_it_is_for(self, api, foreign_api, new_customer):
        one, other = new_customer(), new_customer()
        first = api.put(f"/v1/customer/{one}/credit/add", {"credit": 5, "reference": "INV-1"})
        assert first.status == 200
        for customer in (one, other):
            again = api.put(f"/v1/customer/{customer}/credit/add", {"credit": 5, "reference": "INV-1"})
            assert (again.status, again.error) == (409, f"reference 'INV-1' was used already, by evt_{one}_2")
            assert again.headers["Ledger-Event"] == f"evt_{one}_2"
        theirs = foreign_api.post("/v1/customer", {"username": "0900000003", "credit": 1, "reference": "INV-1"})
        assert theirs.status == 200

    def test_a_refused_payment_leaves_its_number_free(self, api, new_customer):
        customer = new_customer(credit=5)
        path = f"/v1/customer/{customer}/credit/add"
        assert api.put(path, {"credit": -6, "reference": "INV-2"}).status == 409
        assert api.put(path, {"credit": 6, "reference": "INV-2"}).status == 200

    def test_it_is_kept_on_the_event_in_any_script(self, api, engine, customer):
        api.put(f"/v1/customer/{customer}/status", {"status": "active", "reference": "Phiếu thu số 42"})
        assert events(engine, customer)[-1].reference == "Phiếu thu số 42"

    @pytest.mark.parametrize("reference", ["", "x" * 65, 5, "a\x00b"])
    def test_nonsense_is_refused(self, api, customer, reference):
        answer = api.put(f"/v1/customer/{customer}/credit", {"credit": 5, "reference": reference})
        assert answer.status == 400
        assert answer.error.startswith("reference: ")


class TestIfMatch:
    def test_who_goes_by_an_old_state_is_told_where_it_is_now(self, api, customer):
        path = f"/v1/customer/{customer}/credit"
        etag = api.get(f"/v1/customer/{customer}").headers["ETag"]
        assert api.put(path, {"credit": 5}, headers={"If-Match": etag}).status == 200
        stale = api.put(path, {"credit": 6}, headers={"If-Match": etag})
        assert (stale.status, stale.headers["ETag"]) == (412, '"2"')
        assert api.put(path, {"credit": 6}, headers={"If-Match": "*"}).status == 200

    @pytest.mark.parametrize("tag", ['W/"1"', '"one"', '"1.0"', '"01"', '""', '"99999999999999999999"', '"٣"'])
    def test_a_tag_that_was_never_ours_matches_nothing(self, api, customer, tag):
        answer = api.put(f"/v1/customer/{customer}/credit", {"credit": 5}, headers={"If-Match": tag})
        assert answer.status == 412

    @pytest.mark.parametrize("tag", ["1", '"1", "2"', "", "'1'"])
    def test_what_is_no_tag_is_refused(self, api, customer, tag):
        answer = api.put(f"/v1/customer/{customer}/credit", {"credit": 5}, headers={"If-Match": tag})
        assert (answer.status, answer.error) == (400, 'If-Match: must be one ETag, such as "42"')

    def test_what_has_not_changed_need_not_be_sent_again(self, api, customer):
        path = f"/v1/customer/{customer}"
        etag = api.get(path).headers["ETag"]
        same = api.get(path, headers={"If-None-Match": f'"7", {etag}'})
        assert (same.status, same.body, same.headers["ETag"]) == (304, b"", etag)
        api.put(f"{path}/credit", {"credit": 5})
        assert api.get(path, headers={"If-None-Match": etag}).json["credit"] == 5
