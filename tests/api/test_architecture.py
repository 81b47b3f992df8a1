"""What holds for every route, by walking the URL map: a new route is tested before it is written."""

from __future__ import annotations

import re
import uuid

import pytest

from service.access.scopes import Scope
from tests.support.client import add_call, api_client
from tests.support.exports import QUARTER, done_export
from tests.support.ledger import rows
from tests.support.processes import until
from tests.support.webhooks import add_webhook, ended_delivery

OPEN = {"/v1/auth/token"}  # the one route under /v1 that needs no token
NOT_JSON = (
    b"",
    b"{",
    b"\xff\xfe",
    b'{"a": NaN}',
    b'{"a": Infinity}',
    b'{"a": 1e99999999999999999999}',
    b"[" * 100_000,
)
NOBODYS = {
    "ref": "nobody-has-this", "hold": "hold_1_999", "event_id": "evt_1_999", "cid": "nobody-has-this",
    "webhook": "6cb86e73-990a-4821-845f-29b4ed43259e", "delivery": "01929f3e-5d5c-7a31-8a3e-1f6f0d6f2a11",
    "export": "4b1d5c9e-0f0a-4a56-9d3c-6a1f2e7c8b90",
}  # fmt: skip
NOT_FOUND = {
    "ref": "customer not found", "hold": "hold not found", "event_id": "event not found", "cid": "caller id not found",
    "webhook": "webhook not found", "delivery": "delivery not found",
    "export": "export not found",
}  # fmt: skip
BODIES = {
    "/v1/customer": {"username": "0900000001"},
    "/v1/customer/<ref:ref>/credit": {"credit": 1},
    "/v1/customer/<ref:ref>/credit/add": {"credit": 1},
    "/v1/customer/<ref:ref>/status": {"status": "active"},
    "/v1/customer/<ref:ref>/limit": {"credit_limit": 1},
    "/v1/customer/<ref:ref>/hold": {"amount": 1, "expires_in": 60},
    "/v1/hold/<hold_id:hold>/capture": {"amount": 1},
    "/v1/hold/<hold_id:hold>/release": {"reason": "x"},
    "/v1/event/<event_id:event_id>/reversal": {"reason": "x", "amount": 1},
    "/v1/ledger/bulk": {"commands": [{"type": "set", "customer": "nobody-has-this", "credit": 1}]},
    "/v1/callerid": {"user_id": "1", "cid": "0281"},
    "/v1/callerid/<cid:cid>": {"user_id": "1"},
    "/v1/call/log": {
        "uniqueid": "1.1",
        "source": "0281",
        "destination": "113",
        "start_time": "2021-06-04 21:12:59",
        "duration": 1,
        "amount": 1,
    },
    "/v1/call/log/rematch": {},
    "/v1/call/export": QUARTER,
    "/v1/webhook": {"url": "https://hooks.example.com/pbx"},
    "/v1/webhook/<webhook_id:webhook>": {"description": "x"},
    "/v1/webhook/<webhook_id:webhook>/secret/rotate": {"keep_for": 60},
    "/v1/webhook/<webhook_id:webhook>/test": {},
    "/v1/webhook/<webhook_id:webhook>/replay": {"since": "2021-06-01 00:00:00"},
    "/v1/webhook/<webhook_id:webhook>/delivery/<delivery_id:delivery>/retry": {},
}
TAKES_LISTS = {"/v1/call/log"}
PARAMETERS = {"/v1/customer/<ref:ref>/balance": "at", "/v1/call/log": "source"}  # of queries without a limit


def routes(app):
    """Every (method, rule) under /v1."""
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith("/v1/"):
            for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
                yield method, rule


def guarded(app):
    return [(method, rule) for method, rule in routes(app) if rule.rule not in OPEN]


def path_of(rule, **values):
    filled = {name: values.get(name, NOBODYS[name]) for name in rule.arguments}
    return rule.map.bind("localhost").build(rule.endpoint, filled)


def first_of(rule):
    """What a path names first: what it names after that belongs to it."""
    return min(rule.arguments, key=lambda name: rule.rule.index(f":{name}>"))


def body_of(rule, method, customer=1):
    """A good body. A new route has to be given one here."""
    if method == "GET" or rule.rule in OPEN:
        return None
    body = BODIES[rule.rule]
    return {**body, "user_id": str(customer)} if "user_id" in body else body


def writes(app):
    return [(method, rule) for method, rule in guarded(app) if method != "GET"]


def things_of(api, customer):
    """Something of each kind that belongs to the client of a customer."""
    api.put(f"/v1/customer/{customer}/credit", {"credit": 100})
    held = api.post(f"/v1/customer/{customer}/hold", {"amount": 1, "expires_in": 60})
    added = api.put(f"/v1/customer/{customer}/credit/add", {"credit": 1})
    cid = f"+84 {uuid.uuid4().hex[:9]}"
    assert api.post("/v1/callerid", {"user_id": str(customer), "cid": cid}).status == 200
    return {
        "ref": str(customer), "hold": held.json["id"], "event_id": added.headers["Ledger-Event"], "cid": cid,
        "export": done_export(api), **webhook_things(api),
    }  # fmt: skip


def webhook_things(api):
    """A webhook, and a delivery of it that has ended."""
    webhook = add_webhook(api)["id"]
    return {"webhook": webhook, "delivery": ended_delivery(api, webhook)}


def test_there_are_routes_to_walk(app):
    assert len(guarded(app)) >= 20


def test_every_route_but_the_tokens_own_names_a_scope(app):
    for _, rule in guarded(app):
        assert app.view_functions[rule.endpoint].scope in set(Scope), rule.rule


def test_without_a_token_every_route_answers_401_with_the_way_in(app, api):
    api.headers.clear()
    for method, rule in guarded(app):
        for header in (None, "Bearer ", "Bearer x.y.z", "Basic eA==", "Bearer"):
            answer = api.call(method, path_of(rule), headers={"Authorization": header} if header else None)
            assert (answer.status, answer.error) == (401, "Unauthorized"), (rule.rule, header)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_without_its_scope_every_route_answers_403(app, engine, client_id):
    for method, rule in guarded(app):
        scope = app.view_functions[rule.endpoint].scope
        others = api_client(app, engine, client_id, [each for each in Scope if each != scope])
        answer = others.call(method, path_of(rule))
        assert (answer.status, answer.error) == (403, f"this API key lacks the scope {scope}"), rule.rule


def test_with_its_scope_alone_no_route_answers_403(app, engine, client_id):
    for method, rule in guarded(app):
        only = api_client(app, engine, client_id, [app.view_functions[rule.endpoint].scope])
        assert only.call(method, path_of(rule), body_of(rule, method)).status != 403, rule.rule


def test_every_route_takes_a_foreign_clients_things_for_ones_that_are_not_there(app, api, foreign_api, new_customer):
    customer = new_customer(username="tenantx", caller_ids=["+84 912 000"], credit=100)
    walked = [(method, rule) for method, rule in guarded(app) if rule.arguments]
    assert {name for _, rule in walked for name in rule.arguments} == NOBODYS.keys()
    for method, rule in walked:
        name = first_of(rule)
        things = things_of(api, customer)
        refs = [f"id:{customer}", "tenantx", "+84 912 000", "caller_id:+84 912 000"] if name == "ref" else []
        for thing in [things[name], *refs]:
            path, body = path_of(rule, **{**things, name: thing}), body_of(rule, method, customer)
            answer = foreign_api.call(method, path, body)
            assert (answer.status, answer.error) == (404, NOT_FOUND[name]), (rule.rule, thing)
            assert api.call(method, path, body).status == 200, (rule.rule, thing)


def test_what_is_named_second_is_looked_for_within_what_is_named_first(app, api, foreign_api):
    things, others, foreign = (webhook_things(each) for each in (api, api, foreign_api))
    walked = [(method, rule) for method, rule in guarded(app) if len(rule.arguments) > 1]
    assert len(walked) >= 2
    for method, rule in walked:
        [second] = rule.arguments - {first_of(rule)}
        for thing in (others[second], foreign[second], NOBODYS[second], "no-id"):
            answer = api.call(method, path_of(rule, **{**things, second: thing}), body_of(rule, method))
            assert (answer.status, answer.error) == (404, NOT_FOUND[second]), (rule.rule, thing)


def test_every_body_that_names_a_customer_takes_a_foreign_one_for_one_that_is_not_there(api, foreign_api, customer):
    [mine, theirs] = [things_of(api, customer)["cid"], foreign_api.post("/v1/customer", {"username": "0900000002"})]
    other = theirs.json["id"]
    for answer in (
        api.post("/v1/callerid", {"user_id": other, "cid": "0999"}),
        api.put(f"/v1/callerid/{mine}", {"user_id": other}),
    ):
        assert (answer.status, answer.error) == (404, "customer not found")
    commands = [{"type": "set", "customer": f"id:{other}", "credit": 1}]
    assert api.post("/v1/ledger/bulk", {"commands": commands}).json["data"] == [
        {"status": 404, "error": "customer not found"}
    ]


def test_no_list_shows_what_belongs_to_another_client(app, engine, api, foreign_api, new_customer):
    new_customer()
    add_call(engine, api.client_id)
    add_webhook(api)
    done_export(api)
    walked = [path_of(rule) for method, rule in guarded(app) if method == "GET" and not rule.arguments]
    assert len(walked) >= 3
    for path in walked:
        until(lambda path=path: len(api.get(path).json["data"]) == 1)  # the feed waits for all writers of the cluster
        assert foreign_api.get(path).json["data"] == [], path


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE", "PUT", "GET"])
def test_a_wrong_method_answers_405_and_says_what_is_allowed(app, api, method):
    for _, rule in routes(app):
        allowed = {m for m, r in routes(app) if r.rule == rule.rule}
        if method not in allowed:
            answer = api.call(method, path_of(rule))
            assert (answer.status, answer.error) == (405, "Method Not Allowed"), rule.rule
            assert allowed <= set(answer.headers["Allow"].split(", "))


def test_every_route_with_a_body_refuses_what_is_not_a_json_object(app, api, customer):
    walked = [(m, r) for m, r in routes(app) if m in {"PUT", "POST"}]
    assert walked
    for method, rule in walked:
        path = path_of(rule, ref=str(customer))
        for raw in NOT_JSON:
            answer = api.call(method, path, raw=raw)
            assert (answer.status, answer.error) == (400, "body: not valid JSON"), (rule.rule, raw[:9])
        answer = api.call(method, path, raw=b'{"a": 1, "a": 2}')
        assert (answer.status, answer.error) == (400, "body: a key is given more than once"), rule.rule
        for raw in (b"[]", b"1", b'"x"', b"null"):
            answer = api.call(method, path, raw=raw)
            if rule.rule in TAKES_LISTS:
                assert (answer.status, answer.error.split(":")[0]) == (400, "body"), (rule.rule, raw)
            else:
                assert (answer.status, answer.error) == (400, "body: must be a JSON object"), (rule.rule, raw)
        assert api.call(method, path, raw=b"{}", content_type="text/plain").status == 415
        answer = api.call(method, path, raw=b'{"a":1}', content_type="application/x-www-form-urlencoded")
        assert (answer.status, answer.error) == (415, "the body must be application/json")
        answer = api.call(method, path, raw=b" " * (1024 * 1024 + 1))
        assert (answer.status, answer.error) == (413, "the request body is too large")
        answer = api.call(method, path, {"surprise": 1})
        assert answer.status == 400, rule.rule


def test_every_route_refuses_unknown_parameters_by_name_also_where_it_has_none(app, api, customer):
    for method, rule in routes(app):
        path = path_of(rule, ref=str(customer))
        answer = api.call(method, path + "?surprise=1", body_of(rule, method))
        assert (answer.status, answer.error) == (400, "surprise: unknown field"), rule.rule


def test_every_query_refuses_a_parameter_that_is_given_twice(app, api, customer):
    walked = [rule for method, rule in guarded(app) if getattr(app.view_functions[rule.endpoint], "takes_query", False)]
    assert len(walked) >= 5
    for rule in walked:
        name = PARAMETERS.get(rule.rule, "limit")
        answer = api.get(path_of(rule, ref=str(customer)) + f"?{name}=1&{name}=2")
        assert (answer.status, answer.error) == (400, f"{name}: given more than once"), rule.rule


def test_every_write_with_a_key_is_answered_again_to_the_byte_and_carried_out_once(app, api, engine, new_customer):
    assert len(writes(app)) >= 12
    for method, rule in writes(app):
        customer = new_customer(credit=100)
        path, body = path_of(rule, **things_of(api, customer)), body_of(rule, method, new_customer())
        headers = {"Idempotency-Key": f"key of {uuid.uuid4()}".replace(" ", "-")}
        first, again = (api.call(method, path, body, headers=headers) for _ in range(2))
        assert first.status == 200, (rule.rule, first.body)
        assert (again.status, again.body) == (first.status, first.body), rule.rule
        for header in ("ETag", "Ledger-Event", "Content-Type"):
            assert again.headers.get(header) == first.headers.get(header), (rule.rule, header)
        assert "Idempotency-Replayed" not in first.headers
        assert again.headers["Idempotency-Replayed"] == "true"
        other = api.call(method, path, {**body, "reason": "another"}, headers=headers)
        assert (other.status, other.error) == (422, "Idempotency-Key: used already for another request"), rule.rule
        written = rows(engine, "SELECT FROM ledger_event WHERE idempotency_key = :key", key=headers["Idempotency-Key"])
        several = {"/v1/ledger/bulk": 0, "/v1/callerid/<cid:cid>": 2, "/v1/call/log/rematch": 0, "/v1/call/export": 0}
        expected = 0 if "webhook" in rule.rule else several.get(rule.rule, 1)
        assert len(written) == expected, rule.rule


def test_a_write_that_is_refused_with_a_key_writes_nothing_and_is_refused_again(app, api, engine):
    for method, rule in writes(app):
        if rule.arguments:
            headers = {"Idempotency-Key": uuid.uuid4().hex}
            first, again = (api.call(method, path_of(rule), body_of(rule, method), headers=headers) for _ in range(2))
            assert (first.status, first.body) == (again.status, again.body)
            assert (first.status, again.headers["Idempotency-Replayed"]) == (404, "true"), rule.rule


def test_if_match_is_honoured_or_refused_and_never_ignored(app, api, new_customer):
    honouring = 0
    for method, rule in routes(app):
        customer = new_customer(credit=100)
        path, body = path_of(rule, **things_of(api, customer)), body_of(rule, method, customer)
        answer = api.call(method, path, body, headers={"If-Match": '"1"'})
        if getattr(app.view_functions[rule.endpoint], "honours_if_match", False):
            honouring += 1
            assert (answer.status, answer.error) == (412, "the customer has changed since: read it again"), rule.rule
            now = answer.headers["ETag"]
            assert api.get(f"/v1/customer/{customer}").headers["ETag"] == now
            answer = api.call(method, path, body, headers={"If-Match": now})
            assert answer.status == 200, (rule.rule, answer.body)
        else:
            assert (answer.status, answer.error) == (400, "If-Match: not supported here"), rule.rule
    assert honouring >= 8


def test_every_route_is_in_the_openapi_document(app, api):
    document = api.get("/openapi.json").json
    for method, rule in routes(app):
        path = re.sub(r"<(\w+:)?(\w+)>", r"{\2}", rule.rule)
        assert method.lower() in document["paths"][path], rule.rule


def test_every_queue_that_is_rung_has_a_job_and_a_process():
    from importlib import import_module
    from pathlib import Path

    from service import doorbell

    procfile = (Path(__file__).parents[2] / "Procfile").read_text()
    for bell, job in doorbell._JOBS.items():
        module, name = job.rsplit(".", 1)
        queue = doorbell.Bell(bell).queue
        assert callable(getattr(import_module(module), name))
        assert f"python -m workers {queue}" in procfile
