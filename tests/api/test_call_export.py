"""`/v1/call/export`: asked for, followed, downloaded."""

from __future__ import annotations

import gzip

import pytest

from service.api import once
from service.doorbell import EXPORT, Bell
from tests.support.client import add_call
from tests.support.exports import QUARTER, add_calls, rows_of, write_everything
from tests.support.ledger import rows

AS_CSV = {"Accept": "text/csv"}


@pytest.fixture
def done(api, engine):
    """Asks for an export and has it written."""

    def done(**fields):
        asked = api.post("/v1/call/export", {**QUARTER, **fields})
        assert asked.status == 200, asked.body
        write_everything(engine)
        return api.get(asked.json["export"]).json

    return done


def test_it_is_asked_for_followed_and_downloaded(api, engine, client_id):
    add_calls(engine, client_id, 2_500)
    asked = api.post("/v1/call/export", QUARTER).json
    assert asked["export"] == f"/v1/call/export/{asked['id']}"
    assert (asked["status"], asked["progress"], asked["total"], asked["download"]) == ("pending", 0, None, None)
    assert (asked["start_date"], asked["end_date"]) == ("2021-01-01T00:00:00Z", "2021-03-31T23:59:59Z")
    early = api.get(asked["export"] + "/download")
    assert (early.status, early.error) == (409, "the export is not done yet")
    write_everything(engine)
    done = api.get(asked["export"]).json
    assert (done["status"], done["progress"], done["total"], done["written"]) == ("done", 1, 2_500, 2_500)
    file = api.get(done["download"])
    assert (file.status, file.headers["Content-Type"]) == (200, "application/gzip")
    assert file.headers["Content-Disposition"] == 'attachment; filename="calls.csv.gz"'
    assert int(file.headers["Content-Length"]) == len(file.body) == done["size"]
    assert "Content-Encoding" not in file.headers
    assert len({row["id"] for row in rows_of(file.body)}) == 2_500


def test_the_file_is_to_the_byte_what_the_call_log_gives_as_csv(api, engine, client_id, done):
    add_calls(engine, client_id, 300, "2021-05-01", days=20)
    for source in ("=1+1", 'Số «lạ», "nội bộ"', "-1"):
        add_call(engine, client_id, start_time="2021-05-10T10:00:00Z", end_time="2021-05-10T10:00:00Z", source=source)
    for narrowed in ({}, {"source": "0283"}, {"destination": "01"}, {"source": "=1+1"}):
        when = {"start_date": "2021-05-01 00:00:00", "end_date": "2021-05-31 00:00:00"}
        listed = api.app.test_client().get(
            "/v1/call/log", query_string={**when, **narrowed}, headers={**api.headers, **AS_CSV}
        )
        file = api.get(done(**when, **narrowed)["download"])
        assert gzip.decompress(file.body) == listed.data, narrowed
        assert len(rows_of(file.body)) >= 1


def test_the_ends_of_the_period_may_be_the_wrong_way_round(api):
    asked = api.post("/v1/call/export", {"start_date": QUARTER["end_date"], "end_date": QUARTER["start_date"]}).json
    assert (asked["start_date"], asked["end_date"]) == ("2021-01-01T00:00:00Z", "2021-03-31T23:59:59Z")


def test_it_is_narrowed_down_like_the_call_log(api, engine, client_id, new_customer, done):
    customer = new_customer(username="exporter", caller_ids=["0283"])
    add_call(
        engine, client_id, start_time="2021-02-01T00:00:00Z", end_time="2021-02-01T00:00:00Z", customer_id=customer
    )
    for ref in ("exporter", "0283", f"id:{customer}"):
        found = done(customer=ref)
        assert (found["written"], found["customer_id"]) == (1, str(customer))
    add_calls(engine, client_id, 30)
    assert done(min_duration=20, unmatched=True)["written"] == 4
    shown = done(disposition="BUSY", destination="0")
    assert (shown["disposition"], shown["destination"], shown["written"]) == ("BUSY", "0", 0)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"start_date": None}, "start_date: Field may not be null."),
        (
            {"start_date": "yesterday"},
            "start_date: not a date and time like 2021-02-18 17:20:58 or 2021-02-18T17:20:58Z",
        ),
        ({"min_duration": "1"}, "min_duration: must be a whole number from 0 to 2678400"),
        ({"unmatched": "true"}, "unmatched: must be true or false"),
        ({"limit": 1}, "limit: unknown field"),
    ],
)
def test_what_can_not_be_meant_is_refused(api, fields, sentence):
    answer = api.post("/v1/call/export", {**QUARTER, **fields})
    assert (answer.status, answer.error) == (400, sentence)


@pytest.mark.parametrize("missing", ["start_date", "end_date"])
def test_both_ends_are_needed(api, missing):
    answer = api.post("/v1/call/export", {name: value for name, value in QUARTER.items() if name != missing})
    assert (answer.status, answer.error) == (400, f"{missing}: is required")


def test_a_foreign_customer_is_one_that_is_not_there(api, foreign_api, new_customer):
    new_customer(username="mine-alone")
    assert api.post("/v1/call/export", {**QUARTER, "customer": "mine-alone"}).status == 200
    answer = foreign_api.post("/v1/call/export", {**QUARTER, "customer": "mine-alone"})
    assert (answer.status, answer.error) == (404, "customer not found")
    assert foreign_api.get("/v1/call/export").json["total"] == 0


@pytest.mark.parametrize("tail", ["", "/download"])
def test_a_foreign_client_finds_nothing(foreign_api, done, tail):
    answer = foreign_api.get(done()["export"] + tail)
    assert (answer.status, answer.error) == (404, "export not found")


@pytest.mark.parametrize(
    "name", ["x", "6cb86e73-990a-4821-845f-29b4ed43259e", "%00", "4b1d5c9e0f0a4a569d3c6a1f2e7c8b90"]
)
def test_what_is_no_id_of_an_export_is_not_found(api, name):
    assert api.get(f"/v1/call/export/{name}").status == 404
    assert api.get(f"/v1/call/export/{name}/download").status == 404


def test_head_says_the_same_and_reads_nothing_but_the_beginning(api, engine, client_id, done):
    add_calls(engine, client_id, 2_500)
    found = done()
    head = api.call("HEAD", found["download"])
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["Content-Length"]) == found["size"]


def test_one_whose_days_are_over_is_not_found(api, engine, done):
    found = done()
    expire = "UPDATE call_export SET expires_at = now() - interval '1 second' WHERE id = :id RETURNING id"
    assert rows(engine, expire, id=found["id"])
    for path in (found["export"], found["download"]):
        assert (api.get(path).status, api.get(path).error) == (404, "export not found")
    assert api.get("/v1/call/export").json["data"] == []


def test_lists_are_newest_first(api, done):
    first, second = done(), done(source="1")
    page = api.get("/v1/call/export?limit=1").json
    assert (page["data"], page["limit"], page["offset"], page["total"]) == ([second], 1, 0, 2)
    assert api.get("/v1/call/export?offset=1").json["data"] == [first]


def test_a_client_can_have_ten_that_are_not_done(api, engine):
    answers = [api.post("/v1/call/export", QUARTER) for _ in range(11)]
    assert [answer.status for answer in answers] == [200] * 10 + [409]
    assert answers[-1].error == "a client can have 10 unfinished exports at most"
    write_everything(engine)
    assert api.post("/v1/call/export", QUARTER).status == 200


def test_one_that_failed_says_so_and_has_no_file(api, engine, done):
    found = done()
    fail = "UPDATE call_export SET status = 'failed', error = 'internal' WHERE id = :id RETURNING id"
    assert rows(engine, fail, id=found["id"])
    failed = api.get(found["export"]).json
    assert (failed["status"], failed["error"], failed["download"]) == ("failed", "internal", None)
    assert api.get(found["export"] + "/download").error == "the export has failed"


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "export-1"}])
def test_a_worker_is_rung_for_once_it_is_committed(api, engine, monkeypatch, headers):
    from service.api.context import services

    rung = []
    with api.app.app_context():
        bell = services().bell

    def ring(which):
        rung.append((which, rows(engine, "SELECT FROM call_export WHERE client_id = :c", c=api.client_id)))

    monkeypatch.setattr(bell, "ring", ring)
    api.post("/v1/call/export", QUARTER, headers=headers)
    assert [(which, len(there)) for which, there in rung] == [(Bell(EXPORT), 1)]
    replay = api.post("/v1/call/export", QUARTER, headers=headers)
    assert (once.REPLAYED in replay.headers) == bool(headers)
