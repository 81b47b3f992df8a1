"""The OpenAPI document is valid, complete, and true: what it says of every answer is checked against real answers."""

from __future__ import annotations

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS
from schemathesis.config import SchemathesisConfig

from service.access.keys import create_client
from service.api.errors import STATUS
from tests.support.client import add_customer, api_client
from tests.support.exports import QUARTER, done_export
from tests.support.ledger import apply_everything
from tests.support.webhooks import URL, add_webhook, ended_delivery


@pytest.fixture(scope="session")
def document(app):
    return app.test_client().get("/openapi.json").json


def operations(document):
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield path, method, operation


def test_it_says_openapi_3_1_and_has_every_operation_of_the_reference(document):
    assert document["openapi"] == "3.1.0"
    assert {(method, path) for path, method, _ in operations(document)} >= {
        ("post", "/v1/auth/token"), ("get", "/v1/customer"), ("get", "/v1/customer/{ref}"),
        ("put", "/v1/customer/{ref}/credit"), ("put", "/v1/customer/{ref}/status"), ("get", "/v1/call/log"),
    }  # fmt: skip


def test_every_status_that_a_refusal_can_get_is_documented_with_its_sentences(document):
    documented = {code for _, _, operation in operations(document) for code in operation["responses"]}
    assert {str(code) for code in STATUS.values()} <= documented
    for path, _, operation in operations(document):
        for code, response in operation["responses"].items():
            if not code.startswith(("2", "3")):
                assert response["content"]["application/json"]["examples"], (path, code)


def test_every_operation_and_field_is_described(document):
    for path, method, operation in operations(document):
        assert operation["summary"], path
        assert operation["description"], path
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), (path, method, parameter["name"])
    assert "cập nhật số dư" in json.dumps(document, ensure_ascii=False, default=str)


def test_every_guarded_operation_names_the_bearer_scheme(document):
    for path, _, operation in operations(document):
        assert bool(operation.get("security")) == (path != "/v1/auth/token"), path


@pytest.fixture(scope="session")
def tenant(app, engine):
    """A client with some customers, for the examples that the document gives rise to."""
    client = create_client(engine, "schemathesis")
    add_customer(engine, client, username="0906237580", caller_ids=["0123456787"], credit=5)
    add_customer(engine, client, username="0906237581", credit=1_000_000)
    apply_everything(engine)
    return api_client(app, engine, client)


@pytest.fixture(scope="session")
def described(app):
    return schemathesis.openapi.from_wsgi("/openapi.json", app, config=SchemathesisConfig())


CHECKED = ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance"]
GIVEN = ("user_id", "url", "since", *QUARTER)  # fields of bodies that have to make sense
REFS = st.sampled_from(["0906237580", "0123456787", "nobody"])


def things(tenant):
    """A customer with credit, and something of each other kind, for paths and bodies to name."""
    customer = "/v1/customer/0906237580"
    tenant.put(f"{customer}/credit", {"credit": 1_000_000})
    held = tenant.post("/v1/customer/0906237581/hold", {"amount": 1, "expires_in": 60})  # nobody else holds its credit
    webhook = add_webhook(tenant)["id"]
    return {
        "hold": held.json["id"],
        "event_id": tenant.put(f"{customer}/credit/add", {"credit": 1_000_000_000}).headers["Ledger-Event"],
        "cid": "0123456787",
        "user_id": str(tenant.get(customer).json["id"]),
        "webhook": webhook,
        "delivery": ended_delivery(tenant, webhook),
        "export": done_export(tenant),
        "url": URL,
        "since": "2021-06-01 00:00:00",
        **QUARTER,
    }


def test_what_the_document_says_of_an_answer_is_so(described, tenant):
    statuses = {result.ok().label: hammer(result.ok(), tenant) for result in described.get_all_operations()}
    assert len(statuses) >= 20
    for label, seen in statuses.items():
        assert seen >= ({400, 401} if "token" in label else {200}), (label, seen)


def hammer(operation, tenant):
    """Call an operation with what the document allows; the statuses that came back."""
    seen = set()

    @settings(max_examples=35, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=operation.as_strategy(), ref=REFS)
    def check(case, ref):
        if ref != "nobody":
            there = {**things(tenant), "ref": ref}
            case.path_parameters.update({name: there[name] for name in case.path_parameters if name in there})
            if ref == "0123456787":  # some without what a made-up header would refuse
                for header in ("If-Match", "Idempotency-Key"):
                    (case.headers or {}).pop(header, None)
                if case.path.endswith("/reversal"):  # of all of it: hardly any amount that is made up is not too much
                    case.body = {}
            if case.path.endswith("/limit") and isinstance(case.body, dict):
                case.body.setdefault("credit_limit", 1)
            if isinstance(case.body, dict):
                case.body.update({name: there[name] for name in GIVEN if name in case.body})
        response = case.call(headers=tenant.headers)
        seen.add(response.status_code)
        case.validate_response(response, checks=CHECKS.get_by_names(CHECKED), headers=tenant.headers)

    check()
    return seen
