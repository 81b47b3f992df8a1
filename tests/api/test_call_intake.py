"""Calls over HTTP: what a body may hold, what each call is answered, and what is seen of it afterwards."""

from __future__ import annotations

import json
import uuid
from decimal import Decimal

import pytest

from tests.support.ledger import apply_everything, rows, stream

CALL = {
    "uniqueid": "1622815952.3252", "source": "0899123456", "destination": "0123456789",
    "start_time": "2021-06-04 21:12:59", "end_time": "2021-06-04 21:13:37", "amount": 285,
}  # fmt: skip
LINES = "application/x-ndjson"
DAY = "start_date=2021-06-04%2000:00:00&end_date=2021-06-04%2023:59:59"


def bring(api, *calls, **options):
    return api.post("/v1/call/log", [CALL | call for call in calls], **options)


@pytest.fixture
def payer(new_customer):
    return new_customer(credit=Decimal(1000), caller_ids=["0899123456"])


def test_one_call_is_stored_charged_and_listed_as_the_reference_has_it(api, engine, payer):
    made = api.post("/v1/call/log", CALL)
    assert made.status == 200
    assert made.json == {
        "id": made.json["id"], "uniqueid": "1622815952.3252", "leg": 0, "customer_id": str(payer),
        "event_id": f"evt_{payer}_2", "duplicate": False,
    }  # fmt: skip
    assert api.get(f"/v1/call/log?{DAY}").json["data"] == [
        {
            "amount": 285, "destination": "0123456789", "duration": 38, "end_time": "2021-06-04T21:13:37Z",
            "id": made.json["id"], "source": "0899123456", "start_time": "2021-06-04T21:12:59Z",
            "uniqueid": "1622815952.3252",
        }
    ]  # fmt: skip
    assert api.get(f"/v1/customer/{payer}").json["credit"] == 715, "at once, with no worker alive"
    [charge] = api.get(f"/v1/customer/{payer}/event?kind=call.charged").json["data"]
    assert (charge["delta"], charge["detail"]["uniqueid"]) == (-285, "1622815952.3252")


def test_a_repeat_is_answered_200_and_other_content_409(api, engine, payer):
    first = api.post("/v1/call/log", CALL).json
    again = api.post("/v1/call/log", CALL)
    assert (again.status, again.json) == (200, {**first, "duplicate": True})
    other = api.post("/v1/call/log", {**CALL, "amount": 286})
    assert (other.status, other.error) == (
        409, "uniqueid '1622815952.3252', leg 0: another call is known by it already",
    )  # fmt: skip
    assert stream(engine, payer).balance == 715


def test_many_calls_have_an_outcome_each_in_their_order(api, engine, payer):
    answer = bring(api, {"leg": 0}, {"leg": 1, "amount": -1}, {"leg": 0}, {"leg": 2, "source": "0777"}, {"leg": "x"})
    assert answer.status == 200
    told = answer.json
    assert [each["status"] for each in told["data"]] == [200, 400, 200, 200, 400]
    assert told["data"][1]["error"] == "amount: must not be negative"
    assert [each.get("duplicate") for each in told["data"]] == [False, None, True, False, None]
    assert told["data"][3]["customer_id"] is None
    counts = {name: told[name] for name in ("stored", "duplicates", "unmatched", "failed")}
    assert counts == {"stored": 2, "duplicates": 1, "unmatched": 1, "failed": 2}
    assert stream(engine, payer).balance == 715


@pytest.mark.parametrize("media_type", ["application/x-ndjson", "application/jsonl"])
def test_lines_are_taken_as_a_list_is_and_a_broken_one_fails_alone(api, payer, media_type):
    lines = [json.dumps(CALL | {"leg": n}).encode() for n in range(3)]
    body = b"\n".join([lines[0], b"{not json", b"", lines[1], b'"text"', b'{"a": 1, "a": 2}', lines[2] + b"\r\n"])
    told = api.call("POST", "/v1/call/log", raw=body, content_type=media_type).json
    assert [each["status"] for each in told["data"]] == [200, 400, 200, 400, 400, 200]
    assert [each["error"] for each in told["data"] if "error" in each] == [
        "body: not valid JSON", "body: must be a JSON object", "body: a key is given more than once",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"amount": "285"}, "amount: must be a number"),
        ({"amount": 0.123456}, "amount: at most 10 digits before the point and 5 after"),
        ({"uniqueid": ""}, "uniqueid: must have at least 1 and at most 150 characters"),
        ({"source": None}, "source: must be a text"),
        ({"start_time": "yesterday"}, "start_time: not a date and time like 2021-02-18 17:20:58"),
        ({"end_time": "2021-06-04 21:12:58"}, "end_time: must not be before start_time"),
        ({"duration": -1}, "duration: must be a whole number from 0 to 2678400"),
        ({"leg": 2**31}, "leg: must be a whole number from 0 to 2147483647"),
        ({"billsec": 1}, "billsec: unknown field"),
        ({"start_time": "2013-06-04 21:12:59", "end_time": "2013-06-04 21:13:00"}, "start_time: must not be more than"),
        ({"customer": "nobody"}, "customer not found"),
    ],
)
def test_a_call_that_is_no_good_says_what_is_wrong_with_it(api, engine, client_id, change, sentence):
    answer = api.post("/v1/call/log", CALL | change)
    assert answer.status == (404 if "customer" in change else 400)
    assert answer.error.startswith(sentence)
    assert rows(engine, "SELECT FROM call_record WHERE client_id = :c", c=client_id) == []


@pytest.mark.parametrize("raw", [b"[]", json.dumps([CALL] * 1001).encode()])
def test_a_list_holds_one_to_a_thousand_calls(api, raw):
    answer = api.call("POST", "/v1/call/log", raw=raw)
    assert (answer.status, answer.error) == (400, "body: must hold 1 to 1000 calls")


def test_a_thousand_calls_at_once_are_charged_in_one_transaction(api, engine, payer):
    told = bring(api, *({"leg": n, "amount": 0.25, "destination": f"0{n}"} for n in range(1000))).json
    assert (told["stored"], told["failed"]) == (1000, 0)
    assert stream(engine, payer).balance == 750
    assert api.get(f"/v1/call/log?{DAY}&limit=1000").json["total"] == 1000


def test_with_a_key_the_whole_is_answered_again_and_not_carried_out_again(api, engine, payer):
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    first, again = (bring(api, {"leg": 0}, {"leg": 1}, headers=headers) for _ in range(2))
    assert (again.body, again.headers["Idempotency-Replayed"]) == (first.body, "true")
    assert [each["duplicate"] for each in again.json["data"]] == [False, False]
    assert stream(engine, payer).balance == 430


def test_a_call_and_the_same_call_as_a_line_are_two_requests(api, engine, payer):
    line = json.dumps(CALL).encode()
    for first, second in [("application/json", LINES), (LINES, "application/json")]:
        keyed = {"headers": {"Idempotency-Key": uuid.uuid4().hex}, "raw": line}
        told = api.call("POST", "/v1/call/log", content_type=first, **keyed)
        again = api.call("POST", "/v1/call/log", content_type=f"{first}; charset=utf-8", **keyed)
        assert (again.status, again.body, again.headers["Idempotency-Replayed"]) == (200, told.body, "true")
        other = api.call("POST", "/v1/call/log", content_type=second, **keyed)
        assert (other.status, other.error) == (422, "Idempotency-Key: used already for another request")
    assert stream(engine, payer).balance == 715


def test_unmatched_calls_are_listed_of_any_time_and_charged_when_their_source_is_known(api, engine, customer):
    bring(api, {"leg": 0, "source": "0777"}, {"leg": 1, "source": "0778", "start_time": "2023-01-01 00:00:00",
                "end_time": "2023-01-01 00:00:09"})  # fmt: skip
    unmatched = api.get("/v1/call/log?unmatched=true").json
    assert ([call["source"] for call in unmatched["data"]], unmatched["total"]) == (["0778", "0777"], 2)
    assert api.get(f"/v1/call/log?unmatched=true&{DAY}").json["total"] == 1
    assert api.post("/v1/callerid", {"user_id": str(customer), "cid": "0777"}).status == 200
    assert api.post("/v1/call/log/rematch").json == {"charged": 1, "failed": 0, "more": False}
    assert api.get("/v1/call/log?unmatched=true").json["total"] == 1
    assert stream(engine, customer).balance == -285


def test_what_a_call_cost_is_told_to_webhooks_and_what_cost_nothing_is_not(api, engine, payer):
    made = api.post("/v1/webhook", {"url": "https://hooks.example.com/calls"}).json
    bring(api, {"leg": 0}, {"leg": 1, "amount": 0})
    apply_everything(engine)
    [told] = api.get(f"/v1/webhook/{made['id']}/delivery?event_type=customer.credit.changed").json["data"]
    body = api.get(f"/v1/webhook/{made['id']}/delivery/{told['id']}").json["body"]
    data = json.loads(body)["data"] if isinstance(body, str) else body["data"]
    assert (data["kind"], data["uniqueid"], data["leg"], data["balance_after"]) == (
        "call.charged", "1622815952.3252", 0, 715,
    )  # fmt: skip


def test_a_charge_can_be_reversed_like_any_other_change(api, engine, payer):
    charge = api.post("/v1/call/log", CALL).json["event_id"]
    assert api.post(f"/v1/event/{charge}/reversal", {"reason": "dropped", "amount": 85}).status == 200
    assert stream(engine, payer).balance == 800


def test_vietnamese_text_and_odd_numbers_come_back_as_they_were(api):
    odd = {"source": "“Nguyễn Văn A” <0899>", "destination": "*98#", "disposition": "KHÔNG TRẢ LỜI"}
    assert api.post("/v1/call/log", CALL | odd).status == 200
    [call] = api.get(f"/v1/call/log?{DAY}").json["data"]
    assert (call["source"], call["destination"]) == (odd["source"], odd["destination"])
