"""Endpoints that want each customer's events in order get them so, whatever fails, and whoever sends."""

import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import text

from service.db.transaction import single_statement, transaction
from service.webhooks import claim as claim_module
from service.webhooks import order as order_module
from service.webhooks.allot import Limits
from service.webhooks.claim import Rotation, claim
from service.webhooks.dispatch import dispatch
from service.webhooks.message import send_test
from service.webhooks.record import outcome, record
from service.webhooks.verdict import Delivered, Failure, Retryable
from tests.webhooks.queue import applied
from tests.webhooks.subscriber import answers

LIMITS = Limits(room=200, per_endpoint=100, allowance=lambda _: 100, lease=30.0, at_once=200)


def in_order(queue, url="https://a.example/"):
    endpoint = queue.endpoint(url)
    queue.run("UPDATE webhook_endpoint SET ordered = true WHERE id = :id", id=endpoint)
    return endpoint


def owe(queue, customers, events):
    """So many events of each customer, the customers' mixed up."""
    from service.webhooks.owe import owe as owe_all

    batch = [applied(queue.client_id, customer_id=c, seq=n) for n in range(1, events + 1) for c in customers]
    with transaction(queue.engine) as tx:
        owe_all(tx, batch)


def take(queue, rotation=None, limits=LIMITS):
    return claim(queue.engine, limits, rotation or Rotation()).claims


def end(queue, claims, verdict):
    record(queue.engine, [outcome(c, verdict, 7) for c in claims])


def places(claims):
    return sorted((c.customer_id, c.seq) for c in claims)


def test_of_each_customer_only_the_earliest_goes_out(queue):
    in_order(queue)
    owe(queue, customers=[1, 2, 3], events=4)
    assert places(take(queue)) == [(1, 1), (2, 1), (3, 1)]
    assert take(queue) == ()


def test_the_next_one_goes_when_the_one_before_was_delivered(queue):
    in_order(queue)
    owe(queue, customers=[1, 2], events=3)
    first = take(queue)
    end(queue, [c for c in first if c.customer_id == 2], Delivered(200))
    assert places(take(queue)) == [(2, 2)]


def test_one_that_waits_for_its_retry_holds_up_its_customer_and_nobody_else(queue):
    in_order(queue)
    owe(queue, customers=[1, 2], events=2)
    end(queue, [c for c in take(queue) if c.customer_id == 1], Retryable(Failure.STATUS, 500))
    end(queue, [], Delivered(200))
    queue.leases_run_out()
    again = take(queue)
    assert places(again) == [(2, 1)]
    end(queue, again, Delivered(200))
    assert places(take(queue)) == [(2, 2)]
    queue.due_again()
    assert places(take(queue)) == [(1, 1)]


def test_one_that_was_given_up_makes_way_for_the_next(queue):
    in_order(queue)
    owe(queue, customers=[1], events=2)
    for _ in range(10):
        end(queue, take(queue), Retryable(Failure.STATUS, 500))
        queue.due_again()
    assert [(d.seq, d.status) for d in queue.deliveries()] == [(1, "failed"), (2, "pending")]
    assert places(take(queue)) == [(1, 2)]


def test_an_endpoint_that_does_not_ask_for_order_is_not_held_up(queue):
    queue.endpoint("https://a.example/")
    owe(queue, customers=[1], events=5)
    assert len(take(queue)) == 5


def test_every_customer_has_its_turn_however_many_heads_are_stuck(queue, monkeypatch):
    monkeypatch.setattr(order_module, "WINDOW", 4)
    in_order(queue)
    owe(queue, customers=range(1, 31), events=2)
    queue.run(
        "UPDATE webhook_delivery SET priority = 1, next_attempt_at = now() + interval '1 hour' "
        "WHERE seq = 1 AND customer_id <> 29"
    )
    rotation = Rotation()
    claimed = [c for _ in range(9) for c in take(queue, rotation)]
    assert places(claimed) == [(29, 1)]


def test_with_room_for_one_the_customers_take_turns(queue):
    in_order(queue)
    owe(queue, customers=[1, 2, 3], events=3)
    rotation, one, seen = Rotation(), Limits(room=1, per_endpoint=1, allowance=lambda _: 1, lease=30.0), []
    for _ in range(9):
        claims = take(queue, rotation, one)
        seen += [(c.seq, c.customer_id) for c in claims]
        end(queue, claims, Delivered(200))
    assert seen == sorted(seen)
    assert len(seen) == 9


def test_many_customers_failures_in_the_middle_and_several_dispatchers_keep_the_order(queue, subscriber, settings):
    """Each message is answered 500 the first time that one in three comes; retries are made due as they fail."""
    failed_once: set[str] = set()

    async def moody(received, writer):
        refuse = hash(received.webhook_id) % 3 == 0 and received.webhook_id not in failed_once
        failed_once.add(received.webhook_id)
        await answers(500 if refuse else 200)(received, writer)
        if not refuse:
            accepted.append(received)

    accepted = []
    in_order(queue, subscriber.url("/ordered", moody))
    owe(queue, customers=range(1, 26), events=8)
    done = threading.Event()

    def hurry():
        while not done.wait(0.05):
            queue.due_again()

    hurrying = threading.Thread(target=hurry)
    hurrying.start()
    deadline = time.monotonic() + 40
    try:
        with ThreadPoolExecutor(3) as pool:
            while queue.statuses() != {"delivered": 200} and time.monotonic() < deadline:
                list(pool.map(lambda _: dispatch(queue.engine, settings, stop=lambda: False, seconds=2), range(3)))
    finally:
        done.set()
        hurrying.join()
    assert queue.statuses() == {"delivered": 200}
    seqs = defaultdict(list)
    by_id = {d.webhook_id: d for d in queue.deliveries()}
    for received in accepted:
        seqs[by_id[received.webhook_id].customer_id].append(by_id[received.webhook_id].seq)
    assert all(seq == sorted(seq) for seq in seqs.values())
    assert {customer: sorted(set(seq)) for customer, seq in seqs.items()} == {n: [*range(1, 9)] for n in range(1, 26)}


def test_thousands_behind_a_head_that_waits_are_one_step(queue):
    """By the plan, and by the clock with a margin that no loaded machine uses up."""
    endpoint = in_order(queue)
    owe(queue, customers=[1], events=5000)
    queue.run("UPDATE webhook_delivery SET priority = 1, next_attempt_at = now() + interval '1 hour' WHERE seq = 1")
    owe(queue, customers=[2], events=1)
    with single_statement(queue.engine) as connection:
        connection.execute(text("VACUUM ANALYZE webhook_delivery"))
    with transaction(queue.engine) as tx:
        tx.execute(claim_module._TAKE_TURN, {"key": claim_module._TURN})
        values = {
            "priority": 0, "window": 64, "clients": [queue.client_id], "endpoints": [endpoint], "quotas": [5],
            "after": [-1],
        }  # fmt: skip
        plan = "\n".join(tx.execute(text(f"EXPLAIN ANALYZE {order_module._HEADS.text}"), values).scalars())
    assert "using webhook_delivery_order" in plan
    assert "Seq Scan" not in plan
    assert "Sort" not in plan
    assert "rows=5000" not in plan
    assert places(take(queue)) == [(2, 1)]


def test_messages_about_no_customer_wait_for_nobody(queue):
    """A test is sent while an earlier one still waits for its retry; it is when something is wrong that one tests."""
    endpoint = in_order(queue)
    for _ in range(2):
        with transaction(queue.engine) as tx:
            send_test(tx, queue.client_id, endpoint)
        (sent,) = take(queue)
        end(queue, [sent], Retryable(Failure.STATUS, 500))
    assert sent.customer_id == 0


def test_messages_about_no_customer_leave_room_for_the_others(queue):
    endpoint = in_order(queue)
    owe(queue, customers=[1, 2, 3], events=1)
    for _ in range(2):
        with transaction(queue.engine) as tx:
            send_test(tx, queue.client_id, endpoint)
    assert [c.customer_id for c in sorted(take(queue), key=lambda c: c.customer_id)] == [0, 0, 1, 2, 3]


def test_a_customer_behind_very_many_that_wait_has_its_turn(queue):
    """In claims that share a rotation, be it over the lives of several dispatchers."""
    in_order(queue)
    owe(queue, customers=range(1, 301), events=2)
    queue.run("UPDATE webhook_delivery SET priority = 1, next_attempt_at = now() + interval '2 hours' WHERE seq = 1")
    owe(queue, customers=[1001], events=1)
    rotation = Rotation()
    assert [c.customer_id for _ in range(10) for c in take(queue, rotation)] == [1001]
