from service.webhooks.allot import Limits
from service.webhooks.claim import Claimed, Rotation, claim
from service.webhooks.record import outcome, record, release
from service.webhooks.verdict import CutShort, Delivered, Failure, Permanent, Retryable

LIMITS = Limits(room=100, per_endpoint=100, allowance=lambda _: 100, lease=30.0, at_once=100)


def take(queue):
    return claim(queue.engine, LIMITS, Rotation()).claims


def test_each_outcome_of_a_batch_goes_to_its_own_delivery(queue):
    queue.owe_to("https://a.example/", events=4)
    verdicts = [Delivered(204), Retryable(Failure.STATUS, 503), Permanent(Failure.GONE, 410), CutShort()]
    claims = take(queue)
    assert record(queue.engine, [outcome(c, v, 7) for c, v in zip(claims, verdicts, strict=True)]) == 4
    assert [d.status for d in queue.deliveries()] == ["delivered", "pending", "failed", "pending"]
    assert [d.priority for d in queue.deliveries()] == [1, 1, 1, 0]
    attempts = {a.delivery_id: (a.outcome, a.status_code, a.error, a.milliseconds) for a in queue.attempts()}
    assert [attempts[c.id] for c in claims] == [
        ("delivered", 204, None, 7),
        ("retry", 503, "status", 7),
        ("failed", 410, "gone", 7),
        ("abandoned", None, "cut short", 7),
    ]


def test_a_late_result_changes_nothing_once_the_delivery_was_claimed_anew(queue):
    queue.owe_to("https://a.example/")
    (slow,) = take(queue)
    queue.leases_run_out()
    (newer,) = take(queue)
    assert record(queue.engine, [outcome(slow, Permanent(Failure.GONE, 410), 40_000)]) == 0
    (delivery,) = queue.deliveries()
    assert (delivery.status, delivery.lease_token) == ("sending", newer.token)
    assert [a.outcome for a in queue.attempts()] == ["abandoned", None]
    assert record(queue.engine, [outcome(newer, Delivered(200), 20)]) == 1
    assert queue.statuses() == {"delivered": 1}


def test_a_late_result_changes_nothing_once_the_newer_one_is_in(queue):
    queue.owe_to("https://a.example/")
    (slow,) = take(queue)
    queue.leases_run_out()
    record(queue.engine, [outcome(c, Delivered(200), 20) for c in take(queue)])
    record(queue.engine, [outcome(slow, Retryable(Failure.TIMEOUT), 40_000)])
    release(queue.engine, [slow])
    assert queue.statuses() == {"delivered": 1}
    assert [a.outcome for a in queue.attempts()] == ["abandoned", "delivered"]


def test_a_result_still_counts_after_the_lease_ran_out_if_nobody_claimed_it_anew(queue):
    queue.owe_to("https://a.example/")
    (slow,) = take(queue)
    queue.leases_run_out()
    assert record(queue.engine, [outcome(slow, Delivered(200), 40_000)]) == 1
    assert queue.statuses() == {"delivered": 1}


def test_recording_a_batch_again_changes_nothing(queue):
    queue.owe_to("https://a.example/")
    batch = [outcome(c, Retryable(Failure.TIMEOUT), 15_000) for c in take(queue)]
    assert record(queue.engine, batch) == 1
    before = queue.deliveries(), queue.attempts()
    assert record(queue.engine, batch) == 0
    assert (queue.deliveries(), queue.attempts()) == before
    assert claim(queue.engine, LIMITS, Rotation()) == Claimed()
