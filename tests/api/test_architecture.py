"""What holds for every route, by walking the URL map: a new route is tested before it is written."""

from __future__ import annotations

import pytest

from service.access.scopes import Scope
from tests.support.client import add_call, api_client

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
FILLED = {"ref": "nobody-has-this"}


def routes(app):
    """Every (method, rule) under /v1."""
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith("/v1/"):
            for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
                yield method, rule


def guarded(app):
    return [(method, rule) for method, rule in routes(app) if rule.rule not in OPEN]


def path_of(rule, **values):
    filled = {name: values.get(name, FILLED[name]) for name in rule.arguments}
    return rule.map.bind("localhost").build(rule.endpoint, filled)


def body_of(rule, method):
    if method == "GET":
        return None
    return {"credit": 1} if rule.rule.endswith("/credit") else {"status": "active"}


def test_there_are_routes_to_walk(app):
    assert len(guarded(app)) >= 5


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


def test_every_route_takes_a_foreign_clients_customer_for_one_that_is_not_there(app, api, foreign_api, new_customer):
    customer = new_customer(username="tenantx", caller_ids=["+84 912 000"])
    walked = [(method, rule) for method, rule in guarded(app) if "ref" in rule.arguments]
    assert walked
    for method, rule in walked:
        for ref in (str(customer), f"id:{customer}", "tenantx", "+84 912 000", "caller_id:+84 912 000"):
            path, body = path_of(rule, ref=ref), body_of(rule, method)
            answer = foreign_api.call(method, path, body)
            assert (answer.status, answer.error) == (404, "customer not found"), (rule.rule, ref)
            assert api.call(method, path, body).status == 200, (rule.rule, ref)


def test_no_list_shows_what_belongs_to_another_client(app, engine, api, foreign_api, new_customer):
    new_customer()
    add_call(engine, api.client_id)
    walked = [path_of(rule) for method, rule in guarded(app) if method == "GET" and not rule.arguments]
    assert len(walked) >= 2
    for path in walked:
        assert api.get(path).json["total"] == 1, path
        assert foreign_api.get(path).json["total"] == 0, path


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
        path = path_of(rule, ref=str(customer)) if rule.arguments else path_of(rule)
        for raw in NOT_JSON:
            answer = api.call(method, path, raw=raw)
            assert (answer.status, answer.error) == (400, "body: not valid JSON"), (rule.rule, raw[:9])
        answer = api.call(method, path, raw=b'{"a": 1, "a": 2}')
        assert (answer.status, answer.error) == (400, "body: a key is given more than once"), rule.rule
        for raw in (b"[]", b"1", b'"x"', b"null"):
            answer = api.call(method, path, raw=raw)
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
        path = path_of(rule, ref=str(customer)) if rule.arguments else path_of(rule)
        answer = api.call(method, path + "?surprise=1", body_of(rule, method))
        assert (answer.status, answer.error) == (400, "surprise: unknown field"), rule.rule


def test_every_query_refuses_a_parameter_that_is_given_twice(app, api):
    for method, rule in guarded(app):
        if method == "GET" and not rule.arguments:
            answer = api.get(path_of(rule) + "?limit=1&limit=2")
            assert (answer.status, answer.error) == (400, "limit: given more than once"), rule.rule


@pytest.mark.parametrize("header", ["Idempotency-Key", "If-Match"])
def test_a_safety_header_that_is_not_honoured_yet_is_refused_not_ignored(app, api, customer, header):
    for method, rule in routes(app):
        path = path_of(rule, ref=str(customer)) if rule.arguments else path_of(rule)
        answer = api.call(method, path, body_of(rule, method), headers={header: '"1"'})
        assert (answer.status, answer.error) == (400, f"{header}: not supported by this version"), rule.rule


def test_every_route_is_in_the_openapi_document(app, api):
    document = api.get("/openapi.json").json
    for method, rule in routes(app):
        path = rule.rule.replace("<ref:ref>", "{ref}")
        assert method.lower() in document["paths"][path], rule.rule


def test_every_queue_that_is_rung_has_a_job_and_a_process():
    from importlib import import_module
    from pathlib import Path

    from service import doorbell

    procfile = (Path(__file__).parents[2] / "Procfile").read_text()
    for queue, job in doorbell._JOBS.items():
        module, name = job.rsplit(".", 1)
        assert callable(getattr(import_module(module), name))
        assert f"python -m workers {queue}" in procfile
