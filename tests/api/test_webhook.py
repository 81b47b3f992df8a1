"""Webhooks managed over HTTP: what is shown, what is never shown again, and what a secret's rotation means."""

from __future__ import annotations

import uuid

import pytest
import structlog
from sqlalchemy import text

from service.db.transaction import transaction
from service.webhooks.vault import vault_of
from tests.support.ledger import rows
from tests.support.webhooks import URL, add_webhook

TYPES = ["customer.created", "customer.status.changed"]
HEADERS = {"X-Gateway-Token": "hush-hush", "Authorization": "Basic cGJ4OnBieA=="}


def stored(engine, webhook):
    [row] = rows(engine, "SELECT * FROM webhook_endpoint WHERE id = :id", id=webhook["id"])
    return row


def test_a_webhook_is_made_and_its_secret_shown_this_once(api):
    made = add_webhook(api, event_types=TYPES, description="thanh toán", ordered=True, headers=HEADERS)
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert made == {
        "id": made["id"], "url": URL, "event_types": TYPES, "description": "thanh toán", "ordered": True,
        "headers": ["Authorization", "X-Gateway-Token"], "disabled": False, "disabled_at": None,
        "disabled_reason": None, "failing_since": None, "previous_secret_until": None,
        "created_at": made["created_at"],
    }  # fmt: skip
    assert api.get(f"/v1/webhook/{made['id']}").json == made
    assert api.get("/v1/webhook").json == {"data": [made], "limit": 10, "offset": 0, "total": 1}
    assert api.put(f"/v1/webhook/{made['id']}", {"description": "thanh toán"}).json == made


def test_a_url_alone_will_do(api):
    made = add_webhook(api)
    assert (made["event_types"], made["description"], made["ordered"], made["headers"]) == (None, "", False, [])


def test_nothing_that_is_secret_lies_in_the_database_in_clear(api, engine, config):
    made = add_webhook(api, headers=HEADERS)
    rotated = api.post(f"/v1/webhook/{made['id']}/secret/rotate", headers={"Idempotency-Key": uuid.uuid4().hex}).json
    row = stored(engine, made)
    vault = vault_of(config)
    assert (vault.open(row.secret), vault.open(row.previous_secret)) == (rotated["secret"], made["secret"])
    for value in (row.secret, row.previous_secret, row.headers):
        assert value.startswith("v1:")
    for secret in (made["secret"], rotated["secret"], *HEADERS.values()):
        assert secret not in str(row)


@pytest.mark.parametrize("route", ["create", "rotate"])
def test_an_answer_that_shows_a_secret_is_kept_encrypted_and_given_again_to_the_byte(api, engine, route):
    path = "/v1/webhook" if route == "create" else f"/v1/webhook/{add_webhook(api)['id']}/secret/rotate"
    body, key = ({"url": URL} if route == "create" else {}), uuid.uuid4().hex
    first, again = (api.post(path, body, headers={"Idempotency-Key": key}) for _ in range(2))
    assert (again.status, again.body) == (200, first.body)
    assert [each.headers["Cache-Control"] for each in (first, again)] == ["no-store", "no-store"]
    assert again.headers["Idempotency-Replayed"] == "true"
    [kept] = rows(engine, "SELECT body FROM idempotency_key WHERE key = :key", key=key)
    assert bytes(kept.body).startswith(b"v1:")
    assert first.json["secret"].encode() not in bytes(kept.body)


def test_no_log_line_holds_a_secret_or_a_headers_value(api, monkeypatch):
    lines = []
    for level in ("debug", "info", "warning", "error", "exception", "critical"):  # beneath what is cached per module
        monkeypatch.setattr(structlog.BytesLogger, level, lambda _, line: lines.append(line))
    made = add_webhook(api, headers=HEADERS)
    rotated = api.post(f"/v1/webhook/{made['id']}/secret/rotate").json
    api.post("/v1/webhook", {"url": URL, "headers": {"Host": "hush-hush"}})
    logged = b"\n".join(lines).decode()
    assert "/secret/rotate" in logged
    for secret in (made["secret"], rotated["secret"], "hush-hush"):
        assert secret not in logged


def test_what_is_not_named_stays(api):
    made = add_webhook(api, event_types=TYPES, description="a", headers=HEADERS)
    path = f"/v1/webhook/{made['id']}"
    assert api.put(path, {"url": "https://b.example/"}).json["headers"] == sorted(HEADERS)
    changed = api.put(path, {"event_types": None, "ordered": True, "headers": None, "description": "b"}).json
    assert (changed["url"], changed["event_types"], changed["ordered"], changed["headers"], changed["description"]) == (
        "https://b.example/", None, True, [], "b",
    )  # fmt: skip
    assert api.put(path, {}).json == changed


def test_one_that_is_disabled_says_since_when_and_begins_anew_when_enabled(api, engine):
    made = add_webhook(api)
    path = f"/v1/webhook/{made['id']}"
    disabled = api.put(path, {"disabled": True}).json
    assert (disabled["disabled"], disabled["disabled_reason"]) == (True, "asked for")
    assert api.put(path, {"disabled": True}).json["disabled_at"] == disabled["disabled_at"] is not None
    for way in ("test", "replay"):
        answer = api.post(f"{path}/{way}", {"since": "2021-06-01 00:00:00"} if way == "replay" else None)
        assert (answer.status, answer.error) == (409, "the webhook is disabled")
    enabled = api.put(path, {"disabled": False}).json
    assert (enabled["disabled"], enabled["disabled_at"], enabled["disabled_reason"]) == (False, None, None)
    assert stored(engine, made).failures == 0


def failing(engine, webhook):
    """An endpoint's row, as if it had failed for four days."""
    with transaction(engine) as tx:
        tx.execute(
            text(
                "UPDATE webhook_endpoint SET failures = 20, failing_since = now() - interval '4 days', "
                "last_failed_at = now(), open_until = now() + interval '5 minutes' WHERE id = :id"
            ),
            {"id": webhook["id"]},
        )
    return health(engine, webhook)


def health(engine, webhook):
    row = stored(engine, webhook)
    return row.failures, row.failing_since, row.last_failed_at, row.open_until


@pytest.mark.parametrize("said", [{"url": URL}, {"url": URL, "description": "b"}, {"disabled": False}, {}])
def test_what_is_said_again_as_it_was_wipes_no_failures(api, engine, said):
    made = add_webhook(api)
    before = failing(engine, made)
    assert api.put(f"/v1/webhook/{made['id']}", said).status == 200
    assert health(engine, made) == before


@pytest.mark.parametrize("said", [[{"url": "https://b.example/"}], [{"disabled": True}, {"disabled": False}]])
def test_another_url_or_being_enabled_again_is_a_new_beginning(api, engine, said):
    made = add_webhook(api)
    failing(engine, made)
    for body in said:
        assert api.put(f"/v1/webhook/{made['id']}", body).status == 200
    assert health(engine, made) == (0, None, None, None)


def test_one_that_is_deleted_is_gone_for_every_reader_and_stays_as_a_row(api, engine):
    made = add_webhook(api, headers=HEADERS)
    path = f"/v1/webhook/{made['id']}"
    assert api.call("DELETE", path).json == {"id": made["id"], "message": "successfully"}
    assert api.get("/v1/webhook").json["total"] == 0
    for answer in (
        api.get(path), api.put(path, {"disabled": False}), api.call("DELETE", path), api.post(f"{path}/test"),
        api.post(f"{path}/secret/rotate"), api.get(f"{path}/delivery"),
        api.post(f"{path}/replay", {"since": "2021-06-01 00:00:00"}),
    ):  # fmt: skip
        assert (answer.status, answer.error) == (404, "webhook not found")
    row = stored(engine, made)
    assert row.deleted_at is not None
    assert row.disabled_at is not None
    assert (row.secret, row.headers, row.previous_secret) == ("", None, None)


def test_they_are_listed_page_by_page_oldest_first(api):
    made = [add_webhook(api, url=f"https://{n}.example/")["id"] for n in range(5)]
    pages = [api.get(f"/v1/webhook?limit=2&offset={offset}").json for offset in (0, 2, 4)]
    assert [row["id"] for page in pages for row in page["data"]] == made
    assert {page["total"] for page in pages} == {5}


def test_a_foreign_webhook_is_not_found(api, foreign_api):
    path = f"/v1/webhook/{add_webhook(api)['id']}"
    for answer in (
        foreign_api.get(path), foreign_api.put(path, {"disabled": True}), foreign_api.call("DELETE", path),
        foreign_api.post(f"{path}/secret/rotate"), foreign_api.post(f"{path}/test"),
    ):  # fmt: skip
        assert (answer.status, answer.error) == (404, "webhook not found")
    assert api.get(path).json["disabled"] is False


@pytest.mark.parametrize(
    "nobodys", ["1", "x", "6cb86e73990a4821845f29b4ed43259e", "{6cb86e73-990a-4821-845f-29b4ed43259e}"]
)
def test_what_is_no_webhooks_id_is_not_found(api, nobodys):
    assert api.get(f"/v1/webhook/{nobodys}").error == "webhook not found"


class TestRotation:
    def test_the_old_secret_stays_for_a_day_unless_asked_otherwise(self, api, engine):
        made = add_webhook(api)
        path = f"/v1/webhook/{made['id']}"
        rotated = api.post(f"{path}/secret/rotate").json
        assert rotated["secret"] not in {made["secret"], None}
        assert api.get(path).json["previous_secret_until"] == rotated["previous_secret_until"]
        [left] = rows(
            engine,
            "SELECT extract(epoch FROM previous_secret_until - now()) AS s FROM webhook_endpoint WHERE id = :id",
            id=made["id"],
        )
        assert float(left.s) == pytest.approx(24 * 3600, abs=60)

    def test_kept_for_no_time_it_is_forgotten_at_once(self, api, engine):
        made = add_webhook(api)
        rotated = api.post(f"/v1/webhook/{made['id']}/secret/rotate", {"keep_for": 0}).json
        assert rotated["previous_secret_until"] is None
        assert stored(engine, made).previous_secret is None

    @pytest.mark.parametrize("keep_for", [-1, 604801, 1.5, "60", None, True])
    def test_for_how_long_must_be_within_a_week(self, api, keep_for):
        answer = api.post(f"/v1/webhook/{add_webhook(api)['id']}/secret/rotate", {"keep_for": keep_for})
        assert answer.status == 400
        assert answer.error.startswith("keep_for: must be a whole number")


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"url": "http://a.example/"}, "url must begin with https://"),
        ({"url": "https://10.0.0.1/"}, "url must name a public address, on port 443 or 8443"),
        ({"url": None}, "url: must be a text"),
        ({"event_types": []}, "event_types: must name at least one type"),
        ({"event_types": "customer.created"}, "event_types: must be a list of event types"),
        ({"ordered": 1}, "ordered: must be true or false"),
        ({"description": "x" * 256}, "description: must have at most 255 characters"),
        ({"headers": []}, "headers: must be an object of texts"),
        ({"headers": {f"x-{n}": "x" for n in range(11)}}, "headers: at most 10"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "headers: a name is given more than once"),
        ({"headers": {"X A": "x"}}, "headers: a name must be the name of an HTTP header"),
        ({"headers": {"": "x"}}, "headers: a name must be the name of an HTTP header"),
        ({"headers": {"Webhook-Id": "x"}}, "headers: Webhook-Id cannot be set"),
        ({"headers": {"content-LENGTH": "1"}}, "headers: content-LENGTH cannot be set"),
        ({"headers": {"Host": "a"}}, "headers: Host cannot be set"),
        ({"surprise": 1}, "surprise: unknown field"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_by_name(api, said, error):
    answer = api.post("/v1/webhook", {"url": URL, **said})
    assert (answer.status, answer.error) == (400, error)
    answer = api.put(f"/v1/webhook/{add_webhook(api)['id']}", said)
    assert (answer.status, answer.error) == (400, error)


@pytest.mark.parametrize("value", ["", "a\r\nX-B: c", "a\nb", "\u00fc", "a\x00", "x" * 501, " a", 1, None])
def test_a_headers_value_is_one_line_of_printable_ascii(api, value):
    answer = api.post("/v1/webhook", {"url": URL, "headers": {"X-A": value}})
    assert answer.error == "headers: the value of X-A must be 1 to 500 printable ASCII characters"


def test_a_type_that_does_not_exist_is_refused(api):
    answer = api.post("/v1/webhook", {"url": URL, "event_types": ["customer.exploded"]})
    assert answer.status == 400
    assert answer.error.startswith("event_types: must be some of callerid.changed")


def test_a_client_can_have_so_many_and_one_more_once_another_is_deleted(api):
    made = [api.post("/v1/webhook", {"url": f"http://127.0.0.1:9/{n}"}) for n in range(21)]
    assert [answer.status for answer in made] == [200] * 20 + [409]
    assert made[-1].error == "a client can have 20 webhooks at most"
    assert api.call("DELETE", f"/v1/webhook/{made[0].json['id']}").status == 200
    assert api.post("/v1/webhook", {"url": "http://127.0.0.1:9/again"}).status == 200
