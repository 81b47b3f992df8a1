import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import text

from service.db.transaction import single_statement, transaction
from service.errors import Unavailable
from service.webhooks import claim as claim_module
from service.webhooks.allot import Address, Limits
from service.webhooks.claim import Claimed, Rotation, claim
from service.webhooks.due import has_due
from service.webhooks.record import release

MANY = 10_000
LIMITS = Limits(room=200, per_endpoint=20, allowance=lambda _: MANY, lease=30.0, at_once=MANY)


def take(queue, rotation=None, **limits):
    return claim(queue.engine, replace(LIMITS, **limits), rotation or Rotation())


def test_a_claim_leases_what_is_due_and_notes_the_attempt_before_anything_is_sent(queue):
    endpoint = queue.owe_to("https://a.example/")
    (claimed,) = take(queue).claims
    (delivery,) = queue.deliveries()
    (attempt,) = queue.attempts()
    assert claimed.address == Address(queue.client_id, endpoint)
    assert (claimed.id, claimed.token, claimed.attempt) == (delivery.id, delivery.lease_token, 1)
    assert (delivery.status, delivery.attempts, delivery.next_attempt_at) == ("sending", 1, None)
    assert (attempt.delivery_id, attempt.number, attempt.outcome) == (delivery.id, 1, None)
    assert queue.scalar("SELECT lease_until - now() FROM webhook_delivery").total_seconds() == pytest.approx(30, abs=2)


def test_a_claim_takes_no_more_than_is_wanted_at_once_and_the_next_goes_on(queue):
    for n in range(6):
        queue.owe_to(f"https://{n}.example/", events=20)
    claims = [len(take(queue, at_once=50).claims) for _ in range(4)]
    assert max(claims) <= 50
    assert sum(claims) == 120


def test_what_is_claimed_is_claimed_by_nobody_else(queue):
    queue.owe_to("https://a.example/")
    assert len(take(queue).claims) == 1
    assert take(queue) == Claimed()


def test_many_that_claim_at_once_share_out_every_delivery_once_and_keep_to_the_cap(queue):
    for n in range(5):
        queue.owe_to(f"https://{n}.example/", events=30)
    with ThreadPoolExecutor(8) as pool:
        claimed = [c for one in pool.map(lambda _: take(queue, room=30, per_endpoint=7), range(24)) for c in one.claims]
    assert len({c.id for c in claimed}) == len(claimed) == 35
    per_endpoint = queue.rows("SELECT count(*) FROM webhook_delivery WHERE status = 'sending' GROUP BY endpoint_id")
    assert [row.count for row in per_endpoint] == [7] * 5


def test_thousands_for_an_endpoint_that_is_full_are_one_step(queue):
    full = queue.owe_to("https://full.example/", events=5000)
    assert len(take(queue, per_endpoint=5).claims) == 5
    other = queue.owe_to("https://other.example/", events=3)
    claimed = take(queue, per_endpoint=5).claims
    assert [c.address.endpoint_id for c in claimed] == [other] * 3
    assert full not in {c.address.endpoint_id for c in claimed}


def test_the_oldest_goes_first(queue):
    queue.owe_to("https://a.example/", events=30)
    claimed = take(queue, per_endpoint=10).claims
    assert [c.id for c in claimed] == [d.id for d in queue.deliveries()[:10]]


def test_first_attempts_go_before_retries_however_old(queue):
    queue.owe_to("https://a.example/", events=10)
    queue.run("UPDATE webhook_delivery SET priority = 1, next_attempt_at = now() - interval '1 day', attempts = 1")
    queue.owe(10)
    assert [c.attempt for c in take(queue, per_endpoint=10).claims] == [1] * 10
    assert [c.attempt for c in take(queue, per_endpoint=20).claims] == [2] * 10


def test_a_retry_is_left_until_its_time(queue):
    queue.owe_to("https://a.example/")
    queue.run("UPDATE webhook_delivery SET priority = 1, next_attempt_at = now() + interval '1 minute'")
    assert not has_due(queue.engine)
    assert take(queue) == Claimed()
    queue.due_again()
    assert has_due(queue.engine)
    assert len(take(queue).claims) == 1


def test_every_endpoint_has_its_turn_however_little_room_there_is(queue, monkeypatch):
    monkeypatch.setattr(claim_module, "WINDOW", 3)
    endpoints = {queue.owe_to(f"https://{n}.example/", events=9) for n in range(10)}
    rotation = Rotation()
    claimed = []
    for _ in range(20):
        (one,) = take(queue, rotation, room=1).claims
        claimed.append(one.address.endpoint_id)
        release(queue.engine, [one])
    assert set(claimed[:10]) == set(claimed[10:]) == endpoints


def test_retries_far_off_hide_no_other_endpoint(queue, monkeypatch):
    monkeypatch.setattr(claim_module, "WINDOW", 3)
    for n in range(10):
        queue.owe_to(f"https://{n}.example/", events=1)
    queue.run("UPDATE webhook_delivery SET priority = 1, next_attempt_at = now() + interval '1 hour'")
    last = max(row.id for row in queue.rows("SELECT id FROM webhook_endpoint"))
    queue.run("UPDATE webhook_delivery SET next_attempt_at = now() WHERE endpoint_id = :id", id=last)
    rotation = Rotation()
    claimed = [c for _ in range(4) for c in take(queue, rotation).claims]
    assert [c.address.endpoint_id for c in claimed] == [last]


def test_a_lease_that_ran_out_is_claimed_again_and_its_attempt_was_abandoned(queue):
    queue.owe_to("https://a.example/")
    (before,) = take(queue).claims
    queue.leases_run_out()
    assert has_due(queue.engine)
    again = take(queue)
    assert again.abandoned == 1
    assert (again.claims[0].id, again.claims[0].attempt) == (before.id, 2)
    assert again.claims[0].token != before.token
    assert (again.claims[0].webhook_id, again.claims[0].body) == (before.webhook_id, before.body)
    assert [(a.number, a.outcome, a.error) for a in queue.attempts()] == [
        (1, "abandoned", "cut short"),
        (2, None, None),
    ]


def test_a_delivery_that_always_kills_its_sender_has_failed_in_the_end(queue):
    queue.owe_to("https://a.example/")
    for _ in range(10):
        assert len(take(queue).claims) == 1
        queue.leases_run_out()
    assert take(queue) == Claimed(abandoned=1)
    assert queue.statuses() == {"failed": 1}
    assert len(queue.attempts()) == 10
    assert not has_due(queue.engine)


@pytest.mark.parametrize("what", ["UPDATE webhook_endpoint SET disabled_at = now()", "DELETE FROM webhook_endpoint"])
def test_what_is_due_to_an_endpoint_that_is_disabled_or_gone_is_skipped(queue, what):
    queue.owe_to("https://a.example/", events=3)
    queue.run(f"{what} WHERE client_id = :client")
    assert take(queue) == Claimed(skipped=3)
    assert queue.statuses() == {"skipped": 3}
    assert queue.attempts() == []
    assert not has_due(queue.engine)


def test_what_is_given_back_is_as_if_it_had_not_been_claimed(queue):
    queue.owe_to("https://a.example/", events=2)
    claimed = take(queue)
    release(queue.engine, claimed.claims)
    assert queue.statuses() == {"pending": 2}
    assert [d.attempts for d in queue.deliveries()] == [0, 0]
    assert queue.attempts() == []
    assert len(take(queue).claims) == 2


def test_a_retry_that_is_given_back_is_still_a_retry(queue):
    queue.owe_to("https://a.example/")
    queue.run("UPDATE webhook_delivery SET priority = 1, attempts = 1")
    release(queue.engine, take(queue).claims)
    (delivery,) = queue.deliveries()
    assert (delivery.status, delivery.priority, delivery.attempts) == ("pending", 1, 1)


def test_a_claim_goes_on_where_endpoints_turn_out_to_be_owed_little(queue):
    for n in range(12):
        queue.owe_to(f"https://{n}.example/", events=2)
    assert len(take(queue, room=60, at_once=20).claims) > 12


def test_a_claim_that_hangs_holds_nobody_up_for_long(queue):
    queue.owe_to("https://a.example/")
    with transaction(queue.engine) as hanging:
        hanging.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": claim_module._TURN})
        began = time.monotonic()
        with pytest.raises(Unavailable):
            take(queue)
        assert time.monotonic() - began < 4


def test_a_claim_touches_the_queue_and_never_the_history(queue):
    """The plans, with statistics that would tempt to a full scan: a large history, and a queue of many endpoints."""
    _fill(queue, endpoints=10_000, deliveries=100_000, history=20_000)
    with transaction(queue.engine) as tx:
        plan = _plan(tx, claim_module._WALK, priority=0, client=uuid.UUID(int=0), endpoint=uuid.UUID(int=0), window=256)
        assert "Index Only Scan using webhook_delivery_queue" in plan
        assert "Seq Scan" not in plan
        addresses = tx.execute(text("SELECT DISTINCT client_id, endpoint_id FROM webhook_delivery LIMIT 100")).all()
        clients, endpoints = [a.client_id for a in addresses], [a.endpoint_id for a in addresses]
        quotas = [2] * len(addresses)
        plan = _plan(tx, claim_module._LOCK, priority=0, clients=clients, endpoints=endpoints, quotas=quotas)
        assert "using webhook_delivery_queue" in plan
        assert "Seq Scan" not in plan
        assert "Sort" not in plan
        plan = _plan(tx, claim_module._ABANDON_EXPIRED, max_attempts=10)
        assert "Seq Scan on webhook_delivery" not in plan
    assert len(take(queue, per_endpoint=2).claims) == 200


def test_a_claim_keeps_its_plan_where_the_statistics_are_out_of_date(queue):
    """Thousands of retries since the last ANALYZE, which knew of none: to a planner, sorting them all looks cheap."""
    _fill(queue, endpoints=500, deliveries=5000, history=20_000)
    with transaction(queue.engine) as tx:
        tx.execute(text("UPDATE webhook_delivery SET priority = 1 WHERE status = 'pending'"))
        walk = {"priority": 1, "client": uuid.UUID(int=0), "endpoint": uuid.UUID(int=0), "window": 256}
        assert "Sort" in _plan(tx, claim_module._WALK, **walk)
        tx.execute(claim_module._TAKE_TURN, {"key": claim_module._TURN})
        plan = _plan(tx, claim_module._WALK, **walk)
    assert "Sort" not in plan
    assert plan.count("using webhook_delivery_queue") == 2


def _fill(queue, endpoints, deliveries, history):
    queue.run(
        "INSERT INTO webhook_endpoint (client_id, url, secret) "
        "SELECT :client, 'https://a.example/', 'whsec_x' FROM generate_series(1, :endpoints)",
        endpoints=endpoints,
    )
    for status, count in (("delivered", history), ("pending", deliveries)):
        queue.run(
            """
            INSERT INTO webhook_delivery (client_id, id, endpoint_id, customer_id, seq, event_type, webhook_id, body,
                                          status, next_attempt_at, finished_at)
            SELECT :client, gen_random_uuid(), ids.id, 1, n, CAST(:status AS text), 'msg_x',
                   convert_to(repeat('x', 300), 'UTF8'), :status,
                   CASE WHEN :status = 'pending' THEN now() END, CASE WHEN :status <> 'pending' THEN now() END
            FROM generate_series(1, CAST(:count AS int)) AS n
            JOIN (SELECT id, row_number() OVER () AS nth FROM webhook_endpoint WHERE client_id = :client) AS ids
              ON ids.nth = n % :endpoints + 1
            """,
            status=status,
            count=count,
            endpoints=endpoints,
        )
    with single_statement(queue.engine) as connection:
        connection.execute(text("VACUUM ANALYZE webhook_delivery"))


def _plan(tx, statement, **values):
    return "\n".join(tx.execute(text(f"EXPLAIN {statement.text}"), values).scalars())
