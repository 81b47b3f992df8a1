"""Deliveries over HTTP: sent to a real receiver, looked through, sent again."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from standardwebhooks import Webhook, WebhookVerificationError

from service.db.transaction import transaction
from service.doorbell import DELIVER, Bell
from service.webhooks import again
from service.webhooks import dispatch as dispatch_module
from service.webhooks.dispatch import dispatch
from service.webhooks.history import first_id
from service.webhooks.schedule import MAX_ATTEMPTS
from tests.support.ledger import apply_everything, rows
from tests.support.webhooks import add_webhook, ended_delivery
from tests.webhooks.subscriber import Subscriber, answers, in_turn


@pytest.fixture
def send(engine, config, monkeypatch):
    """Dispatch until nothing is due; a dispatcher knows no clients, so what other tests left is removed."""
    with transaction(engine) as tx:
        tx.execute(text("TRUNCATE webhook_attempt, webhook_delivery, webhook_endpoint"))
    monkeypatch.setattr(dispatch_module, "LINGER", 0.05)
    settings = replace(config, webhook_timeout=2.0)
    return lambda: dispatch(engine, settings, stop=lambda: False)


@pytest.fixture
def subscriber():
    with Subscriber() as subscriber:
        yield subscriber


def run(engine, statement, **values):
    with transaction(engine) as tx:
        tx.execute(text(statement), values)


def aged(engine, delivery, moment):
    """Make a delivery be from another time; its id, which tells of that too."""
    then = str(first_id(moment + timedelta(milliseconds=1)))
    run(
        engine,
        "UPDATE webhook_delivery SET id = :then, created_at = :at WHERE id = :id",
        id=delivery,
        then=then,
        at=moment,
    )
    return then


def history(api, webhook, query=""):
    return api.get(f"/v1/webhook/{webhook['id']}/delivery{query}").json


def verifies(secret, received):
    try:
        Webhook(secret).verify(received.body, received.headers)
    except WebhookVerificationError:
        return False
    return True


class TestEndToEnd:
    def test_a_test_message_arrives_signed_and_its_outcome_can_be_read(self, api, send, subscriber):
        made = add_webhook(api, url=subscriber.url("/hook"), event_types=["hold.created"], headers={"X-Token": "abc"})
        due = api.post(f"/v1/webhook/{made['id']}/test").json
        assert due == {
            "id": due["id"], "message": "successfully", "delivery": f"/v1/webhook/{made['id']}/delivery/{due['id']}",
        }  # fmt: skip
        waiting = api.get(due["delivery"]).json
        assert (waiting["status"], waiting["attempts"]) == ("pending", [])
        assert send().delivered == 1
        [received] = subscriber.received
        assert received.headers["x-token"] == "abc"
        assert verifies(made["secret"], received)
        told = api.get(due["delivery"]).json
        assert told["body"] == Webhook(made["secret"]).verify(received.body, received.headers)
        assert told["body"]["type"] == "webhook.test"
        assert told["body"]["data"] == {"endpoint_id": made["id"]}
        assert (told["status"], told["event_type"], told["event_id"]) == ("delivered", "webhook.test", None)
        assert (told["webhook_id"], told["next_attempt_at"]) == (received.webhook_id, None)
        [attempt] = told["attempts"]
        assert (attempt["number"], attempt["outcome"], attempt["status_code"], attempt["error"]) == (
            1, "delivered", 200, None,
        )  # fmt: skip

    def test_while_a_rotation_lasts_either_secret_verifies_and_afterwards_the_new_one_only(
        self, api, engine, send, subscriber
    ):
        made = add_webhook(api, url=subscriber.url("/hook"))
        path = f"/v1/webhook/{made['id']}"
        new = api.post(f"{path}/secret/rotate", {"keep_for": 600}).json["secret"]
        api.post(f"{path}/test")
        send()
        run(engine, "UPDATE webhook_endpoint SET previous_secret_until = now() - interval '1 s'")
        assert api.get(path).json["previous_secret_until"] is None
        api.post(f"{path}/test")
        send()
        both, one = subscriber.received
        assert (verifies(made["secret"], both), verifies(new, both)) == (True, True)
        assert (verifies(made["secret"], one), verifies(new, one)) == (False, True)

    def test_a_secret_of_an_earlier_release_goes_on_signing(self, api, engine, send, subscriber):
        made = add_webhook(api, url=subscriber.url("/hook"))
        run(engine, "UPDATE webhook_endpoint SET secret = :secret", secret=made["secret"])
        api.post(f"/v1/webhook/{made['id']}/test")
        send()
        assert verifies(made["secret"], subscriber.received[0])

    def test_a_secret_that_no_key_opens_sends_nothing_and_says_that_it_is_our_fault(
        self, api, engine, send, subscriber
    ):
        made = add_webhook(api, url=subscriber.url("/hook"))
        run(engine, "UPDATE webhook_endpoint SET secret = 'v1:nonsense'")
        due = api.post(f"/v1/webhook/{made['id']}/test").json
        assert send().retry == 1
        assert subscriber.received == []
        assert [a["error"] for a in api.get(due["delivery"]).json["attempts"]] == ["internal"]

    def test_what_a_deleted_webhook_is_owed_is_skipped(self, api, engine, send, subscriber):
        made = add_webhook(api, url=subscriber.url("/hook"))
        api.post(f"/v1/webhook/{made['id']}/test")
        api.call("DELETE", f"/v1/webhook/{made['id']}")
        assert send().skipped == 1
        assert subscriber.received == []

    def test_a_real_event_names_itself(self, api, engine, send, subscriber, new_customer):
        made = add_webhook(api, url=subscriber.url("/hook"), event_types=["customer.created"])
        customer = new_customer()
        apply_everything(engine)
        send()
        [delivery] = history(api, made)["data"]
        assert (delivery["event_id"], delivery["event_type"]) == (f"evt_{customer}_1", "customer.created")


@pytest.mark.parametrize("keyed", [True, False])
def test_the_dispatcher_is_rung_for_after_the_commit(app, api, monkeypatch, keyed):
    from service.api.context import services

    rung = []
    with app.app_context():
        monkeypatch.setattr(services().bell, "ring", rung.append)
    headers = {"Idempotency-Key": uuid.uuid4().hex} if keyed else {}
    api.post(f"/v1/webhook/{add_webhook(api)['id']}/test", headers=headers)
    assert rung == [Bell(DELIVER)]


class TestRetry:
    @pytest.mark.parametrize("status", ["failed", "skipped", "delivered"])
    def test_one_that_has_ended_is_due_again_at_once(self, api, engine, status):
        made = add_webhook(api)
        delivery = ended_delivery(api, made["id"], status)
        answer = api.post(f"/v1/webhook/{made['id']}/delivery/{delivery}/retry")
        assert (answer.status, answer.json["id"]) == (200, delivery)
        [row] = rows(engine, "SELECT * FROM webhook_delivery WHERE id = :id", id=delivery)
        assert (row.status, row.priority, row.finished_at) == ("pending", 0, None)

    def test_one_that_has_not_ended_is_refused(self, api, engine):
        made = add_webhook(api)
        delivery = api.post(f"/v1/webhook/{made['id']}/test").json["id"]
        path = f"/v1/webhook/{made['id']}/delivery/{delivery}/retry"
        assert (api.post(path).status, api.post(path).error) == (409, "the delivery is pending already")
        run(
            engine,
            "UPDATE webhook_delivery SET status = 'sending', next_attempt_at = NULL, lease_token = gen_random_uuid(), "
            "lease_until = now() + interval '1 minute' WHERE id = :id",
            id=delivery,
        )
        assert (api.post(path).status, api.post(path).error) == (409, "the delivery is sending already")

    def test_one_that_has_used_up_its_attempts_has_the_schedule_before_it_again(self, api, engine, send, subscriber):
        made = add_webhook(api, url=subscriber.url("/hook", in_turn(answers(500), answers(500), answers(200))))
        due = api.post(f"/v1/webhook/{made['id']}/test").json
        run(engine, "UPDATE webhook_delivery SET attempts = :n", n=MAX_ATTEMPTS - 1)
        for outcome in ("failed", "pending", "delivered"):
            send()
            assert api.get(due["delivery"]).json["status"] == outcome
            if outcome == "failed":
                assert api.post(f"{due['delivery']}/retry").status == 200
            run(engine, "UPDATE webhook_delivery SET next_attempt_at = now() WHERE status = 'pending'")
        assert [a["number"] for a in api.get(due["delivery"]).json["attempts"]] == [10, 11, 12]
        assert len({(r.webhook_id, r.body) for r in subscriber.received}) == 1

    def test_a_restart_of_ours_in_the_middle_of_it_costs_nothing(self, api, engine, send, subscriber):
        made = add_webhook(api, url=subscriber.url("/hook"))
        delivery = ended_delivery(api, made["id"])
        run(engine, "UPDATE webhook_delivery SET attempts = :n", n=MAX_ATTEMPTS)
        api.post(f"/v1/webhook/{made['id']}/delivery/{delivery}/retry")
        run(
            engine,
            "UPDATE webhook_delivery SET status = 'sending', attempts = attempts + 1, next_attempt_at = NULL, "
            "lease_token = gen_random_uuid(), lease_until = now() - interval '1 s' WHERE id = :id",
            id=delivery,
        )
        send()
        assert api.get(f"/v1/webhook/{made['id']}/delivery/{delivery}").json["status"] == "delivered"


class TestReplay:
    SINCE = "2021-06-01 00:00:00"

    def test_all_that_failed_or_was_skipped_is_sent_again_after_first_attempts(self, api, engine):
        made, other = add_webhook(api), add_webhook(api)
        for status in ("failed", "failed", "skipped", "delivered"):
            ended_delivery(api, made["id"], status)
        ended_delivery(api, other["id"])
        api.post(f"/v1/webhook/{made['id']}/test")
        answer = api.post(f"/v1/webhook/{made['id']}/replay", {"since": self.SINCE})
        assert answer.json == {"replayed": 3, "more": False}
        of_it = rows(engine, "SELECT * FROM webhook_delivery WHERE endpoint_id = :id", id=made["id"])
        assert Counter((row.status, row.priority) for row in of_it) == {
            ("pending", 1): 3, ("pending", 0): 1, ("delivered", 0): 1,
        }  # fmt: skip
        assert history(api, other)["data"][0]["status"] == "failed"
        assert api.post(f"/v1/webhook/{made['id']}/replay", {"since": self.SINCE}).json["replayed"] == 0

    @pytest.mark.parametrize("status", ["failed", "skipped", "delivered"])
    def test_a_status_means_those_alone(self, api, status):
        made = add_webhook(api)
        for each in ("failed", "skipped", "delivered"):
            ended_delivery(api, made["id"], each)
        body = {"since": self.SINCE, "status": status}
        assert api.post(f"/v1/webhook/{made['id']}/replay", body).json["replayed"] == 1
        assert status not in {row["status"] for row in history(api, made)["data"]}

    def test_the_stretch_may_be_all_of_time(self, api):
        made = add_webhook(api)
        ended_delivery(api, made["id"])
        body = {"since": "0001-01-01 00:00:00", "until": "9999-12-31 23:59:59"}
        assert api.post(f"/v1/webhook/{made['id']}/replay", body).json["replayed"] == 1
        for since, count in (("0001-01-01", 1), ("9999-12-31", 0)):
            assert len(history(api, made, f"?since={since}%2023:59:59")["data"]) == count

    def test_what_was_made_outside_the_stretch_is_left_alone(self, api, engine):
        made = add_webhook(api)
        days = {
            day: aged(engine, ended_delivery(api, made["id"]), datetime(2021, 6, day, tzinfo=UTC)) for day in (1, 2, 3)
        }
        body = {"since": "2021-06-02 00:00:00", "until": "2021-06-03 00:00:00"}
        assert api.post(f"/v1/webhook/{made['id']}/replay", body).json["replayed"] == 1
        assert [row["id"] for row in history(api, made, "?status=pending")["data"]] == [days[2]]

    @pytest.mark.parametrize("keyed", [True, False])
    def test_it_goes_batch_by_batch_and_says_where_there_is_more(self, api, monkeypatch, keyed):
        monkeypatch.setattr(again.replay, "__kwdefaults__", {"most": 5, "batch": 2})
        made = add_webhook(api)
        for _ in range(7):
            ended_delivery(api, made["id"])
        seen = []
        for _ in range(2):
            headers = {"Idempotency-Key": uuid.uuid4().hex} if keyed else {}
            answer = api.post(f"/v1/webhook/{made['id']}/replay", {"since": self.SINCE}, headers=headers)
            seen.append((answer.json["replayed"], answer.json["more"]))
        assert seen == [(5, True), (2, False)]

    @pytest.mark.parametrize("batch", [2, 5])
    def test_it_says_that_there_is_no_more_where_it_took_the_very_last(self, api, monkeypatch, batch):
        monkeypatch.setattr(again.replay, "__kwdefaults__", {"most": 5, "batch": batch})
        made = add_webhook(api)
        for status in ("failed", "skipped", "failed", "delivered", "failed", "failed", "delivered"):
            ended_delivery(api, made["id"], status)
        answer = api.post(f"/v1/webhook/{made['id']}/replay", {"since": self.SINCE})
        assert answer.json == {"replayed": 5, "more": False}

    @pytest.mark.parametrize(
        ("body", "error"),
        [
            ({}, "since: is required"),
            ({"since": "yesterday"}, "since: not a date and time like 2021-02-18 17:20:58 or 2021-02-18T17:20:58Z"),
            (
                {"since": "2021-06-01 00:00:00", "status": "pending"},
                "status: must be one of failed, skipped, delivered",
            ),
        ],
    )
    def test_nonsense_is_refused(self, api, body, error):
        answer = api.post(f"/v1/webhook/{add_webhook(api)['id']}/replay", body)
        assert (answer.status, answer.error) == (400, error)


class TestHistory:
    def test_pages_follow_one_another_newest_first_whatever_comes_in_between(self, api):
        made = add_webhook(api)
        sent = [ended_delivery(api, made["id"]) for _ in range(5)]
        found, query = [], "?limit=2"
        while query:
            page = history(api, made, query)
            found += [row["id"] for row in page["data"]]
            query = page["next"] and f"?limit=2&after={page['next']}"
            ended_delivery(api, made["id"])
        assert found == sent[::-1]

    def test_it_can_be_narrowed_down(self, api, engine):
        made = add_webhook(api)
        failed, delivered = (ended_delivery(api, made["id"], status) for status in ("failed", "delivered"))
        failed = aged(engine, failed, datetime(2021, 6, 1, tzinfo=UTC))
        for query, expected in {
            "?status=failed": [failed],
            "?status=delivered": [delivered],
            "?event_type=webhook.test": [delivered, failed],
            "?event_type=customer.created": [],
            "?since=2021-06-01%2000:00:00": [delivered, failed],
            "?since=2021-06-01%2000:00:01": [delivered],
        }.items():
            assert [row["id"] for row in history(api, made, query)["data"]] == expected, query

    @pytest.mark.parametrize("query", ["?status=lost", "?after=x", "?since=x", "?limit=0", "?surprise=1"])
    def test_nonsense_is_refused(self, api, query):
        assert api.get(f"/v1/webhook/{add_webhook(api)['id']}/delivery{query}").status == 400

    def test_another_webhooks_delivery_is_not_found(self, api):
        made, other = add_webhook(api), add_webhook(api)
        delivery = ended_delivery(api, other["id"])
        for answer in (
            api.get(f"/v1/webhook/{made['id']}/delivery/{delivery}"),
            api.post(f"/v1/webhook/{made['id']}/delivery/{delivery}/retry"),
        ):
            assert (answer.status, answer.error) == (404, "delivery not found")
