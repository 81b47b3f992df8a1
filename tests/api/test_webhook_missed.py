"""What was missed is found among any number that were not, and no search holds a web thread for long."""

from __future__ import annotations

import re
from contextlib import contextmanager

import pytest
import structlog
from sqlalchemy import Engine, event, text

from service.db.transaction import transaction
from service.webhooks import history
from tests.support.webhooks import add_webhook, ended_delivery

SINCE = {"since": "2021-06-01 00:00:00"}
MANY = 20_000  # more than a planner would rather read through
_DELIVERED_AND_MISSED = text("""
    INSERT INTO webhook_delivery (client_id, id, endpoint_id, customer_id, seq, event_type, webhook_id, body, status,
                                  next_attempt_at, finished_at)
    SELECT e.client_id, gen_random_uuid(), e.id, 1, n, 'customer.created', 'msg_' || n, '',
           CASE WHEN n % 1000 = 0 THEN 'failed' ELSE 'delivered' END, NULL, now()
    FROM webhook_endpoint e, generate_series(1, :many) AS n WHERE e.id = :endpoint
""")


@contextmanager
def said_to_the_database():
    """The statements about deliveries meanwhile."""
    said = []

    def note(_connection, _cursor, statement, *_):
        if re.search(r"FROM webhook_delivery\b", statement):
            said.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield said
    event.remove(Engine, "before_cursor_execute", note)


def plan(engine, endpoint, statement):
    """The plan of a statement whose parameters nobody knows, as it is once it has been prepared."""
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", statement)))
    numbered = re.sub(r"%\((\w+)\)s", lambda found: f"${names.index(found[1]) + 1}", statement)
    with transaction(engine) as tx:
        tx.execute(_DELIVERED_AND_MISSED, {"endpoint": endpoint, "many": MANY})
        tx.execute(text("ANALYZE webhook_delivery"))
        tx.execute(text("SET LOCAL plan_cache_mode = force_generic_plan"))
        tx.exec_driver_sql(f"PREPARE said AS {numbered}")
        lines = tx.exec_driver_sql(f"EXPLAIN EXECUTE said ({', '.join('NULL' for _ in names)})").scalars().all()
        tx.exec_driver_sql("DEALLOCATE said")
        tx.rollback()
    return "\n".join(lines)


@pytest.mark.parametrize("status", ["failed", "skipped"])
@pytest.mark.parametrize("way", ["list", "next page", "replay of one status", "replay"])
def test_what_was_missed_is_found_in_an_index_of_its_own(api, engine, status, way):
    made = add_webhook(api)
    for _ in range(2):
        ended_delivery(api, made["id"], status)
    path = f"/v1/webhook/{made['id']}"
    following = api.get(f"{path}/delivery?status={status}&limit=1").json["next"]
    with said_to_the_database() as said:
        answer = {
            "list": lambda: api.get(f"{path}/delivery?status={status}"),
            "next page": lambda: api.get(f"{path}/delivery?status={status}&after={following}"),
            "replay of one status": lambda: api.post(f"{path}/replay", {**SINCE, "status": status}),
            "replay": lambda: api.post(f"{path}/replay", SINCE),
        }[way]()
    assert answer.status == 200
    assert answer.json.get("replayed") == 2 or answer.json["data"]
    assert said
    for statement in said:
        found = plan(engine, made["id"], statement)
        assert "webhook_delivery_missed" in found
        assert "Seq Scan on webhook_delivery" not in found


@pytest.mark.parametrize("way", ["list", "replay", "replay with a key"])
def test_a_search_that_takes_too_long_ends_in_a_503(api, engine, monkeypatch, way):
    monkeypatch.setattr(history, "PATIENCE", "100ms")
    made = add_webhook(api)
    path = f"/v1/webhook/{made['id']}"
    delivery = ended_delivery(api, made["id"])
    headers = {"Idempotency-Key": made["id"]} if way == "replay with a key" else {}
    with transaction(engine) as tx, structlog.testing.capture_logs() as logged:
        tx.execute(text("LOCK TABLE webhook_delivery IN ACCESS EXCLUSIVE MODE"))  # as if it took for ever
        list_ = way == "list"
        answer = api.get(f"{path}/delivery") if list_ else api.post(f"{path}/replay", SINCE, headers=headers)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert "canceling statement due to statement timeout" in str(logged)
    assert api.get(f"{path}/delivery/{delivery}").json["status"] == "failed"
