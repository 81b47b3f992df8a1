"""Old attempts and deliveries are forgotten; nothing that is still to be sent is."""

import pytest
from sqlalchemy import text

from service.db.transaction import single_statement
from service.webhooks import retention
from service.webhooks.retention import forget_attempts, forget_deliveries
from tests.webhooks.subscriber import answers


@pytest.fixture
def three_done(queue, subscriber, send):
    """A delivered, a failed and a skipped delivery, and one that waits for its retry."""
    queue.owe_to(subscriber.url("/good"))
    queue.owe_to(subscriber.url("/gone", answers(410)))
    nowhere = queue.owe_to("https://no.example/")
    queue.run("UPDATE webhook_endpoint SET disabled_at = now() WHERE id = :id", id=nowhere)
    queue.owe_to(subscriber.url("/bad", answers(500)))
    queue.run("UPDATE webhook_endpoint SET event_types = '{customer.created}' WHERE client_id = :client")  # no more
    send()
    assert queue.statuses() == {"delivered": 1, "failed": 1, "skipped": 1, "pending": 1}
    return queue


def age(queue, days):
    back = "make_interval(days => :days)"
    queue.run(f"UPDATE webhook_attempt SET started_at = started_at - {back} WHERE client_id = :client", days=days)
    queue.run(
        f"UPDATE webhook_delivery SET created_at = created_at - {back}, finished_at = finished_at - {back} "
        "WHERE client_id = :client",
        days=days,
    )


def test_attempts_go_after_their_time_but_not_those_of_a_delivery_that_is_not_over(three_done, engine):
    age(three_done, 29)
    assert forget_attempts(engine, 30) == 0
    age(three_done, 2)
    assert forget_attempts(engine, 30) == 2
    assert [a.outcome for a in three_done.attempts()] == ["retry"]
    assert len(three_done.deliveries()) == 4


def test_deliveries_go_after_theirs_with_what_is_left_of_their_attempts(three_done, engine):
    age(three_done, 89)
    assert forget_deliveries(engine, 90) == 0
    age(three_done, 2)
    assert forget_deliveries(engine, 90) == 3
    assert three_done.statuses() == {"pending": 1}
    assert [a.outcome for a in three_done.attempts()] == ["retry"]


def test_it_takes_as_many_batches_as_it_needs(queue, engine, monkeypatch):
    monkeypatch.setattr(retention, "FORGOTTEN_AT_ONCE", 7)
    queue.endpoint("https://a.example/")
    queue.run("UPDATE webhook_endpoint SET disabled_at = now() WHERE client_id = :client")
    queue.owe(30)
    age(queue, 91)
    assert forget_deliveries(engine, 90) == 30


def test_the_oldest_are_found_by_an_index(queue, engine):
    queue.endpoint("https://a.example/")
    queue.run("UPDATE webhook_endpoint SET disabled_at = now() WHERE client_id = :client")
    queue.owe(2000)
    queue.run(
        "INSERT INTO webhook_attempt (client_id, delivery_id, number) "
        "SELECT client_id, id, 1 FROM webhook_delivery WHERE client_id = :client"
    )
    with single_statement(engine) as connection:
        connection.execute(text("VACUUM ANALYZE webhook_delivery, webhook_attempt"))
        for statement, index in (
            (retention._FORGET_ATTEMPTS, "webhook_attempt_started"),
            (retention._FORGET_DELIVERIES, "webhook_delivery_finished"),
        ):
            explained = connection.execute(text(f"EXPLAIN {statement.text}"), {"days": 30, "limit": 100}).scalars()
            assert f"using {index}" in "\n".join(explained)


def test_the_clock_does_it(three_done, engine, config):
    from types import SimpleNamespace

    from workers.clock import forget_webhooks

    age(three_done, 91)
    forget_webhooks(SimpleNamespace(engine=engine, config=config))
    assert three_done.statuses() == {"pending": 1}
    assert len(three_done.attempts()) == 1
