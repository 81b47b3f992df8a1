"""The reference's six routes, key by key and type by type against the responses that it prints."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from service.access.keys import create_key, find_client
from service.app import create_app
from service.config import Config
from tests.support.client import ApiClient, add_customer

LIST = json.loads("""
{"data": [
  {"id": 1, "creationdate": "2021-05-31T17:17:35Z", "firstusedate": "2021-05-31T20:08:56Z",
   "expirationdate": "2031-05-31T10:15:27Z", "enableexpire": 0, "expiredays": 0, "username": "0906237580",
   "useralias": "12345790644", "credit": 12343, "activated": "f", "status": 1, "lastuse": "2021-07-20T12:00:54Z",
   "creditlimit": null, "id_group": 2, "caller_ids": [{"cid": "0123456787", "activated": "t"}]},
  {"id": 2, "creationdate": "2021-06-05T12:59:50Z", "firstusedate": "2021-06-05T13:01:58Z",
   "expirationdate": "2031-06-05T05:58:42Z", "enableexpire": 0, "expiredays": 0, "username": "1234567890",
   "useralias": "12345790645", "credit": 12345, "activated": "f", "status": 1, "lastuse": "2021-07-27T19:07:18Z",
   "creditlimit": null, "id_group": 2,
   "caller_ids": [{"cid": "0123456788", "activated": "t"}, {"cid": "0123456789", "activated": "t"}]}
 ], "limit": 10, "offset": 0, "total": 50}
""")
CALLS = json.loads("""
[{"amount": 285, "destination": "0123456789", "duration": 38, "end_time": "2021-06-04T21:13:37Z", "id": 42,
  "source": "0899123456", "start_time": "2021-06-04T21:12:59Z", "uniqueid": "1622815952.3252"},
 {"amount": 1600, "destination": "0123456789", "duration": 120, "end_time": "2021-06-01T22:04:13Z", "id": 29,
  "source": "0899123456", "start_time": "2021-06-01T22:02:13Z", "uniqueid": "1622559713.3225"}]
""")


@pytest.fixture
def demo(own_engine, config: Config) -> ApiClient:
    """The demo's own client, on a database of its own, loaded by the command."""
    app = create_app(replace(config, database_url=own_engine.url))
    loaded = app.test_cli_runner().invoke(args=["demo", "load"])
    assert loaded.exit_code == 0, loaded.output
    client = find_client(own_engine, "demo")
    return ApiClient(app, client, create_key(own_engine, client)[1]).sign_in()


def same_shape(given, printed) -> bool:
    """The same keys in the same order, and values of the same JSON type."""
    if isinstance(printed, dict):
        return list(given) == list(printed) and all(same_shape(given[key], printed[key]) for key in printed)
    return type(given) is type(printed)


def test_the_token_has_the_references_keys_and_types(demo):
    printed = {
        "data": {
            "client_id": "82ab1e65-aaeb-4ab7-bcd1-d8e4a8aae4ed", "expired_in": 15483776, "refresh_token": "",
            "token": "eyJ", "token_type": "Bearer", "user_id": "1",
        }
    }  # fmt: skip
    given = demo.post("/v1/auth/token", {"api_key": demo.key}).json
    assert same_shape(given, printed)
    assert given["data"]["token_type"] == "Bearer"
    assert given["data"]["refresh_token"] == ""
    assert given["data"]["expired_in"] == 86400
    assert given["data"]["client_id"] == str(demo.client_id)


def test_the_list_of_customers_is_the_references(demo):
    answer = demo.get("/v1/customer?limit=10&offset=0")
    assert answer.status == 200
    assert answer.json["data"][:2] == LIST["data"]
    assert list(answer.json["data"][0]) == list(LIST["data"][0])
    assert {key: answer.json[key] for key in ("limit", "offset", "total")} == {"limit": 10, "offset": 0, "total": 50}
    assert b'"credit":12343,' in answer.body


@pytest.mark.parametrize(
    "ref", ["1", "0906237580", "0123456787", "id:1", "username:0906237580", "caller_id:0123456787"]
)
def test_one_customer_is_the_references_by_every_reference(demo, ref):
    assert demo.get(f"/v1/customer/{ref}").json == LIST["data"][0]


@pytest.mark.parametrize("ref", ["2", "1234567890", "0123456788", "0123456789"])
def test_a_change_answers_exactly_id_and_message(demo, ref):
    credit = demo.put(f"/v1/customer/{ref}/credit", {"credit": 12})
    assert (credit.status, credit.body) == (200, b'{"id":"2","message":"successfully"}')
    assert credit.headers["ETag"] == '"2"'
    assert credit.headers["Ledger-Event"] == "evt_2_2"
    status = demo.put(f"/v1/customer/{ref}/status", {"status": "suspended"})
    assert (status.status, status.body) == (200, b'{"id":"2","message":"successfully"}')
    shown = demo.get(f"/v1/customer/{ref}").json
    assert (shown["credit"], shown["status"]) == (12, 6)


def test_the_call_log_is_the_references(demo):
    answer = demo.get("/v1/call/log?start_date=2021-06-01%2000:00:00&end_date=2021-06-05%2000:00:00")
    assert answer.json["data"][:2] == CALLS
    assert list(answer.json["data"][0]) == list(CALLS[0])
    assert {key: answer.json[key] for key in ("limit", "offset", "total")} == {"limit": 10, "offset": 0, "total": 15}


def test_the_references_own_call_log_line_works_with_its_dates_swapped(demo):
    swapped = demo.get("/v1/call/log?end_date=2021-06-01%2000:00:00&start_date=2021-06-01%2023:59:59")
    assert swapped.status == 200
    assert swapped.json["total"] == 14
    assert CALLS[1] in swapped.json["data"]


def test_more_than_31_days_answers_the_references_own_error(demo):
    answer = demo.get("/v1/call/log?start_date=2021-06-01%2000:00:00&end_date=2021-07-02%2000:00:01")
    assert (answer.status, answer.json) == (400, {"error": "date range must be in 31 days"})


def test_a_second_load_of_the_demo_changes_nothing(demo):
    again = demo.app.test_cli_runner().invoke(args=["demo", "load"])
    assert (again.exit_code, again.output) == (0, "Client 'demo' is here already.\n")
    assert demo.get("/v1/customer").json["total"] == 50


def test_the_next_customer_and_call_get_ids_of_their_own(demo, own_engine):
    assert add_customer(own_engine, demo.client_id) == 51


def test_the_documents_examples_are_the_references_responses(app):
    paths = app.test_client().get("/openapi.json").json["paths"]

    def example(path, method="get"):
        return paths[path][method]["responses"]["200"]["content"]["application/json"]["example"]

    assert example("/v1/customer") == LIST
    assert example("/v1/customer/{ref}") == LIST["data"][0]
    assert example("/v1/call/log")["data"] == CALLS
    assert example("/v1/customer/{ref}/credit", "put") == {"id": "1", "message": "successfully"}
    assert example("/v1/auth/token", "post")["data"]["user_id"] == "1"
