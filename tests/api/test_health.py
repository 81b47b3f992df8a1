"""Health, readiness, metrics, logs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from service.access.keys import create_client, create_key
from service.app import create_app
from service.db.schema import expected_version
from tests.support.client import ApiClient, add_customer
from tests.support.processes import free_port, until


def test_ready_tells_schema_lag_and_redis(api, customer):
    answer = api.get("/readyz").json
    assert answer["status"] == "ready"
    assert answer["schema"] == expected_version()
    assert answer["redis"] == "ok"
    assert answer["events_waiting"] >= 1
    assert answer["apply_lag_seconds"] >= 0


def test_without_redis_the_service_is_degraded_not_down(config):
    app = create_app(replace(config, redis_url=f"redis://127.0.0.1:{free_port()}/0"))
    answer = app.test_client().get("/readyz")
    assert (answer.status_code, answer.json["status"], answer.json["redis"]) == (200, "degraded", "away")
    assert app.test_client().get("/metrics").status_code == 200


def test_metrics_are_behind_their_token_where_one_is_set(config, api):
    app = create_app(replace(config, metrics_token="m" * 20))
    guarded = ApiClient(app, api.client_id, api.key)
    for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer é"}):
        answer = guarded.get("/metrics", headers=header)
        assert (answer.status, answer.error) == (401, "Unauthorized")
    assert guarded.get("/metrics", headers={"Authorization": f"Bearer {'m' * 20}"}).status == 200


def samples(text):
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_add_up_over_several_web_processes_and_show_what_the_workers_did(processes, own_engine):
    processes.environment["WEB_CONCURRENCY"] = "3"
    client = create_client(own_engine, "metrics")
    key = create_key(own_engine, client)[1]
    customer = add_customer(own_engine, client)
    processes.start_web()
    processes.start("worker")
    token = requests.post(f"{processes.url}/v1/auth/token", json={"api_key": key}).json()["data"]["token"]
    headers = {"Authorization": f"Bearer {token}", "Connection": "close"}  # each time, any of the three may answer
    for n in range(30):
        requests.put(f"{processes.url}/v1/customer/{customer}/credit", json={"credit": n}, headers=headers)
    until(lambda: not requests.get(f"{processes.url}/readyz").json()["events_waiting"])

    def scrape():
        return samples(requests.get(f"{processes.url}/metrics").text)

    until(lambda: scrape().get(("pbx_drain_events_sum", ())) == 31)
    found = scrape()
    labels = (("method", "PUT"), ("route", "/v1/customer/<ref:ref>/credit"), ("status", "200"))
    assert found["pbx_request_seconds_count", labels] == 30
    assert found["pbx_appends_total", (("kind", "credit.set"),)] == 30
    assert found["pbx_apply_lag_seconds", ()] == 0
    assert found["pbx_events_waiting", ()] == 0
    assert ("pbx_queue_depth", (("queue", "apply"),)) in found
    assert found["pbx_drain_events_count", ()] >= 1


def test_a_request_is_one_json_line_and_a_job_names_its_events(processes, own_engine):
    client = create_client(own_engine, "logs")
    _, key = create_key(own_engine, client)
    customer = add_customer(own_engine, client, username="logged-customer")
    processes.start_web()
    processes.start("worker")
    token = requests.post(f"{processes.url}/v1/auth/token", json={"api_key": key}).json()["data"]["token"]
    headers = {"Authorization": f"Bearer {token}", "X-Request-Id": "log-me"}
    requests.put(f"{processes.url}/v1/customer/logged-customer/credit", json={"credit": 1}, headers=headers)
    web = until(lambda: [line for line in processes.log_of("web").read_text().splitlines() if "log-me" in line])
    [line] = map(json.loads, web)
    assert line["client"] == str(client)
    assert (line["method"], line["route"], line["status"]) == ("PUT", "/v1/customer/<ref:ref>/credit", 200)
    assert line["ms"] > 0
    until(lambda: f"evt_{customer}_2" in processes.log_of("worker").read_text())
    everything = "".join(processes.log_of(name).read_text() for name in ("web", "worker"))
    for secret in (key, token, processes.environment["SECRET_KEY"]):
        assert secret not in everything


def test_the_probes_of_machines_are_not_logged(processes):
    processes.start_web()
    for path in ("/healthz", "/readyz", "/metrics"):
        assert requests.get(f"{processes.url}{path}").ok
    assert "healthz" not in processes.log_of("web").read_text()


@pytest.mark.parametrize("path", ["/docs/", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"])
def test_the_docs_need_no_network(api, path):
    answer = api.get(path)
    assert answer.status == 200
    if path == "/docs/":
        assert b"//cdn" not in answer.body
        assert b"https://" not in answer.body
