"""Every failure is one sentence in one shape."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy.engine import make_url

from service.app import create_app
from service.errors import AmbiguousReference
from tests.support.client import ApiClient
from tests.support.processes import free_port


def test_an_unknown_path_answers_404(api):
    for path in ("/nope", "/v1", "/v1/customer/1/nope", "/v1/customer/", "/V1/customer"):
        answer = api.get(path)
        assert (answer.status, answer.error) == (404, "Not Found"), path


@pytest.mark.parametrize("ref", ["%00", "a%00b", "%FF%FE", "x" * 121, "%0a"])
def test_a_reference_that_can_name_nothing_is_not_found(api, ref):
    assert api.get(f"/v1/customer/{ref}").status == 404
    assert api.put(f"/v1/customer/{ref}/credit", {"credit": 1}).status == 404


@pytest.mark.parametrize(
    "ref", ["0", "-1", "9223372036854775807", "9223372036854775808", "9" * 100, "01", "Nguyễn", "' OR 1=1"]
)
def test_a_reference_to_nobody_is_not_found(api, ref):
    answer = api.put(f"/v1/customer/{ref}/credit", {"credit": 1})
    assert (answer.status, answer.error) == (404, "customer not found")
    assert api.get(f"/v1/customer/{ref}").error == "customer not found"


def test_a_text_that_means_two_customers_is_refused_until_it_says_which(api, new_customer):
    by_name = new_customer(username="0987000001")
    by_caller_id = new_customer(caller_ids=["0987000001"])
    for call in (api.get("/v1/customer/0987000001"), api.put("/v1/customer/0987000001/credit", {"credit": 1})):
        assert (call.status, call.error) == (409, AmbiguousReference("0987000001").sentence)
    assert api.get("/v1/customer/username:0987000001").json["id"] == by_name
    assert api.get("/v1/customer/caller_id:0987000001").json["id"] == by_caller_id


def test_one_customer_found_in_two_ways_is_not_ambiguous(api, new_customer):
    customer = new_customer(username="0987000002", caller_ids=["0987000002"])
    assert api.get("/v1/customer/0987000002").json["id"] == customer


def test_digits_that_are_one_customers_id_and_anothers_username_are_ambiguous(api, new_customer):
    first = new_customer()
    second = new_customer(username=str(first))
    assert api.get(f"/v1/customer/{first}").status == 409
    assert api.get(f"/v1/customer/id:{first}").json["id"] == first
    assert api.get(f"/v1/customer/username:{first}").json["id"] == second


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ('{"credit": "12"}', "credit: must be a number"),
        ('{"credit": true}', "credit: must be a number"),
        ('{"credit": null}', "credit: must be a number"),
        ('{"credit": [1]}', "credit: must be a number"),
        ("{}", "credit: is required"),
        ('{"credit": 0.000001}', "credit: at most 10 digits before the point and 5 after"),
        ('{"credit": 1.123450}', "credit: at most 10 digits before the point and 5 after"),
        ('{"credit": 10000000000}', "credit: at most 10 digits before the point and 5 after"),
        ('{"credit": -10000000000}', "credit: at most 10 digits before the point and 5 after"),
        ('{"credit": 1e10}', "credit: at most 10 digits before the point and 5 after"),
        ('{"credit": 1e999999999}', "credit: at most 10 digits before the point and 5 after"),
        ('{"credit": 1e-999999999}', "credit: at most 10 digits before the point and 5 after"),
        ('{"credit": ' + "9" * 5000 + "}", "body: not valid JSON"),
        ('{"credit": 1, "reason": 5}', "reason: must be a text"),
        ('{"credit": 1, "reason": "' + "x" * 256 + '"}', "reason: must have at most 255 characters"),
        ('{"credit": 1, "reason": "a\\u0000b"}', "reason: must not hold control characters"),
        ('{"credit": 1, "reason": "\\ud800"}', "body: not valid JSON"),
        ('{"credit": 1, "Credit": 1}', "Credit: unknown field"),
    ],
)
def test_a_credit_that_cannot_be_taken_exactly_is_refused_with_its_reason(api, customer, raw, sentence):
    answer = api.put(f"/v1/customer/{customer}/credit", raw=raw.encode())
    assert (answer.status, answer.error) == (400, sentence)
    assert api.get(f"/v1/customer/{customer}").json["credit"] == 0


@pytest.mark.parametrize("status", ["Active", "new", "", 1, None, True, ["active"], {"a": 1}])
def test_a_status_that_cannot_be_asked_for_is_refused(api, customer, status):
    answer = api.put(f"/v1/customer/{customer}/status", {"status": status})
    assert (answer.status, answer.error) == (400, "status: must be one of active, expired, cancelled, suspended")


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("limit=0", "limit: must be a whole number from 1 to 1000"),
        ("limit=1001", "limit: must be a whole number from 1 to 1000"),
        ("limit=5.9", "limit: must be a whole number from 1 to 1000"),
        ("limit=1_0", "limit: must be a whole number from 1 to 1000"),
        ("limit=٣", "limit: must be a whole number from 1 to 1000"),
        ("limit=", "limit: must be a whole number from 1 to 1000"),
        ("limit=" + "9" * 50, "limit: must be a whole number from 1 to 1000"),
        ("offset=-1", "offset: must be a whole number from 0 to 1000000000"),
        ("status=9", "status: must be one of active, expired, cancelled, suspended, or a code from 0 to 8"),
        ("credit_lt=NaN", "credit_lt: must be a number"),
        ("credit_gt=1e5", "credit_gt: must be a number"),
        ("username=%00", "username: must not hold control characters"),
    ],
)
def test_a_parameter_that_will_not_do_is_refused_by_name(api, query, sentence):
    answer = api.get(f"/v1/customer?{query}")
    assert (answer.status, answer.error) == (400, sentence)


class TestADatabaseThatIsAway:
    """Nothing was changed, and the caller is told to come back."""

    @pytest.fixture
    def cut_off(self, config, api):
        app = create_app(
            replace(config, database_url=make_url(f"postgresql+psycopg://x:sekrit@127.0.0.1:{free_port()}/x"))
        )
        return ApiClient(app, api.client_id, api.key, dict(api.headers))

    def test_every_route_answers_503_with_retry_after(self, cut_off):
        for answer in (
            cut_off.get("/v1/customer"),
            cut_off.put("/v1/customer/1/credit", {"credit": 1}),
            cut_off.post("/v1/auth/token", {"api_key": "x"}),
            cut_off.get("/readyz"),
        ):
            assert (answer.status, answer.error) == (503, "the service is temporarily unavailable, try again")
            assert int(answer.headers["Retry-After"]) > 0

    def test_the_process_itself_is_still_healthy(self, cut_off):
        assert cut_off.get("/healthz").json == {"status": "ok"}


def test_a_bug_answers_500_without_a_trace(config, api, monkeypatch):
    app = create_app(config)

    def broken(*_, **__):
        raise RuntimeError("secret detail")

    monkeypatch.setattr("service.api.customer.find_customer", broken)
    answer = ApiClient(app, api.client_id, api.key, dict(api.headers)).get("/v1/customer/1")
    assert (answer.status, answer.json) == (500, {"error": "internal error"})


def test_too_many_tries_of_a_key_answer_429_and_say_when_to_come_back(config, api):
    app = create_app(replace(config, token_rate_limit="3 per minute"))
    limited = ApiClient(app, api.client_id, api.key)
    statuses = [limited.post("/v1/auth/token", {"api_key": "wrong"}).status for _ in range(5)]
    assert statuses[:3] == [401, 401, 401]
    last = limited.post("/v1/auth/token", {"api_key": api.key})
    assert (last.status, last.error) == (429, "too many requests, slow down")
    assert 0 < int(last.headers["Retry-After"]) <= 60


def test_a_token_has_a_limit_of_its_own_where_one_is_set_also_without_redis(config, api, foreign_api):
    app = create_app(replace(config, rate_limit="2 per minute", redis_url=f"redis://127.0.0.1:{free_port()}/0"))
    limited = ApiClient(app, api.client_id, api.key, dict(api.headers))
    assert [limited.get("/v1/customer").status for _ in range(3)] == [200, 200, 429]
    other = ApiClient(app, foreign_api.client_id, foreign_api.key, dict(foreign_api.headers))
    assert other.get("/v1/customer").status == 200


def test_every_answer_carries_a_request_id_the_callers_own_if_it_is_sane(api):
    assert api.get("/healthz", headers={"X-Request-Id": "abc-123"}).headers["X-Request-Id"] == "abc-123"
    for insane in ("x" * 65, "a b", "<script>", ""):
        given = api.get("/nope", headers={"X-Request-Id": insane}).headers["X-Request-Id"]
        assert given != insane
        assert len(given) == 32
