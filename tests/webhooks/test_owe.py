import uuid
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import event, text

from service.access.keys import create_client
from service.db.transaction import transaction
from service.webhooks.owe import owe, uuid7s
from tests.webhooks.queue import Queue, applied


def test_each_event_is_owed_once_to_each_endpoint(queue, engine):
    first, second = queue.endpoint("https://a.example/"), queue.endpoint("https://b.example/")
    assert queue.owe(3) == 6
    assert queue.statuses(first) == queue.statuses(second) == {"pending": 3}


def test_an_event_that_was_owed_before_is_not_owed_again(queue, engine):
    queue.endpoint("https://a.example/")
    batch = [applied(queue.client_id) for _ in range(3)]
    with transaction(engine) as tx:
        assert owe(tx, batch[:2]) == 2
    with transaction(engine) as tx:
        assert owe(tx, batch) == 1
    assert queue.statuses() == {"pending": 3}


def test_two_that_owe_the_same_at_once_owe_it_once(queue, engine):
    queue.endpoint("https://a.example/")
    batch = [applied(queue.client_id) for _ in range(200)]

    def run(_):
        with transaction(engine) as tx:
            return owe(tx, batch)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(run, range(4))) == 200


def test_what_is_rolled_back_is_not_owed(queue, engine):
    queue.endpoint("https://a.example/")
    with transaction(engine) as tx:
        owe(tx, [applied(queue.client_id)])
        tx.rollback()
    assert queue.statuses() == {}


def test_an_endpoint_gets_the_types_that_it_asked_for(queue):
    queue.endpoint("https://a.example/", ["customer.status.changed"])
    assert queue.owe(kind="credit.set") == 0
    assert queue.owe(kind="status.set") == 1
    assert queue.owe(kind="customer.created") == 0
    assert [d.event_type for d in queue.deliveries()] == ["customer.status.changed"]


def test_nothing_is_to_be_sent_to_a_disabled_endpoint(queue):
    queue.endpoint("https://a.example/")
    queue.run("UPDATE webhook_endpoint SET disabled_at = now() WHERE client_id = :client")
    assert queue.owe() == 0


def test_an_event_of_one_client_is_not_owed_to_another(queue, engine):
    other = Queue(engine, create_client(engine, f"other {uuid.uuid4()}"))
    other.endpoint("https://a.example/")
    assert queue.owe() == 0
    with transaction(engine) as tx:
        assert owe(tx, [applied(queue.client_id), applied(other.client_id)]) == 1
    assert other.statuses() == {"pending": 1}


def test_a_kind_without_a_public_type_is_owed_to_nobody(queue):
    queue.endpoint("https://a.example/")
    assert queue.owe(kind="something.internal") == 0


def test_a_batch_of_hundreds_costs_two_statements_and_one_where_nobody_listens(queue, engine):
    batch = [applied(queue.client_id) for _ in range(500)]
    statements = []
    with transaction(engine) as tx:
        event.listen(tx, "before_cursor_execute", lambda *args: statements.append(args[2]))
        owe(tx, batch)
        assert len(statements) == 1
        tx.execute(
            text("INSERT INTO webhook_endpoint (client_id, url, secret) VALUES (:c, 'https://a.example/', 'whsec_x')"),
            {"c": queue.client_id},
        )
        statements.clear()
        assert owe(tx, batch) == 500
        assert len(statements) == 2


def test_endpoints_of_one_client_get_one_message_and_of_two_events_two(queue):
    queue.endpoint("https://a.example/")
    queue.endpoint("https://b.example/")
    queue.owe(2)
    messages = [(d.webhook_id, bytes(d.body)) for d in queue.deliveries()]
    assert len(set(messages)) == 2
    assert messages[0] == messages[1]


def test_ids_rise_in_the_order_of_their_events_and_are_version_7():
    ids = uuid7s(5000)
    assert ids == sorted(ids)
    assert len(set(ids)) == 5000
    assert {(i.version, i.variant) for i in ids} == {(7, uuid.RFC_4122)}
