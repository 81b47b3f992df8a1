"""Promise 11: nothing durable is reported as failed, also where the database's answer to the commit gets lost."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from sqlalchemy import text

from service.app import create_app
from service.db.transaction import transaction
from service.errors import OutcomeUnknown, Unavailable
from tests.support.client import ApiClient
from tests.support.ledger import assert_sound, rows, stream
from tests.support.lossy import lossy
from tests.support.processes import until

COMMIT, DOOR = b"COMMIT\0", b"ledger_append"  # what goes over the wire; READ COMMITTED is no commit
WAITING = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
HOLDS_THE_KEY = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND state = 'idle in transaction' AND query LIKE '%idempotency_claim%'
"""


def top_up(customer):
    return "PUT", f"/v1/customer/{customer}/credit/add", {"credit": 1}


def bulk(customer, atomic):
    commands = [{"type": "add", "customer": f"id:{customer}", "credit": 1}]
    return "POST", "/v1/ledger/bulk", {"commands": commands, "atomic": atomic}


REQUESTS = {
    "a top-up": top_up,
    "a bulk": lambda c: bulk(c, atomic=False),
    "an atomic bulk": lambda c: bulk(c, atomic=True),
    "a caller id": lambda c: ("POST", "/v1/callerid", {"user_id": str(c), "cid": f"05{c}"}),
    "a new customer": lambda c: ("POST", "/v1/customer", {"username": f"{c:010}"}),
}
ONE_TRANSACTION = ["an atomic bulk", "a caller id", "a new customer"]


@pytest.fixture
def network(config):
    with lossy(config.database_url.host, config.database_url.port or 5432) as network:
        yield network


@pytest.fixture
def far_api(config, api, network):
    """The same integrator, of an app whose database is at the other end of that network."""
    url = config.database_url.set(host="127.0.0.1", port=network.port)
    app = create_app(replace(config, database_url=url, database_pool_size=4))
    far = ApiClient(app, api.client_id, api.key, api.headers)
    assert far.get("/v1/customer").status == 200  # the first connection of an engine has commits of its own
    return far


@pytest.fixture
def count(engine, client_id):
    return lambda: rows(engine, "SELECT count(*) FROM ledger_event WHERE client_id = :id", id=client_id)[0][0]


def not_in_flight(answer):
    """The answer, unless the session of the first sending, which nobody listens to any more, still has the key."""
    return None if answer.status == 409 else answer


@pytest.mark.parametrize("what", REQUESTS)
@pytest.mark.parametrize("lost", [COMMIT, DOOR], ids=["the commit's", "the door's"])
def test_with_a_key_a_lost_answer_is_asked_for_again(far_api, network, engine, customer, count, what, lost):
    request = REQUESTS[what](customer)
    headers = {"Idempotency-Key": "the-key"}
    network.swallow = lost
    first = far_api.call(*request, headers=headers)
    assert network.swallowed == 1
    assert first.status in {200, 503}
    again = until(lambda: not_in_flight(far_api.call(*request, headers=headers)))
    assert again.status == 200, again.body
    assert first.status == 503 or first.body == again.body
    assert count() == 2
    assert_sound(engine, customer)


@pytest.mark.parametrize("what", ["a top-up", "a bulk"])
def test_without_a_key_a_lost_answer_is_looked_up(far_api, network, count, customer, what):
    network.swallow = DOOR
    answer = far_api.call(*REQUESTS[what](customer))
    assert (answer.status, network.swallowed, count()) == (200, 1, 2), answer.body


@pytest.mark.parametrize("what", ONE_TRANSACTION)
def test_without_a_key_nobody_is_told_to_try_again_what_may_have_been_done(far_api, network, count, customer, what):
    network.swallow = COMMIT
    answer = far_api.call(*REQUESTS[what](customer))
    assert (network.swallowed, count()) == (1, 2)
    assert answer.status == 200 or (answer.status, answer.error) == (503, OutcomeUnknown.sentence)


@pytest.mark.parametrize("what", ONE_TRANSACTION)
def test_without_a_key_what_was_surely_not_done_may_be_tried_again(far_api, network, count, customer, what):
    network.swallow = DOOR
    answer = far_api.call(*REQUESTS[what](customer))
    assert (answer.status, answer.error, network.swallowed) == (503, Unavailable.sentence, 1)
    assert count() == 1
    assert far_api.call(*REQUESTS[what](customer)).status == 200


def test_a_bulk_that_is_sent_again_while_the_first_goes_on_without_its_key(api, engine, customer):
    """The session that holds the key dies; what the first sending had begun goes on in another."""
    request, headers, answers = bulk(customer, atomic=False), {"Idempotency-Key": "the-key"}, []

    def send():
        answers.append(api.call(*request, headers=headers))

    senders = [threading.Thread(target=send) for _ in range(2)]
    with transaction(engine) as tx:
        tx.execute(text("SELECT FROM stream WHERE customer_id = :id FOR UPDATE"), {"id": customer})
        senders[0].start()
        until(lambda: rows(engine, WAITING))
        assert len(rows(engine, HOLDS_THE_KEY)) == 1
        senders[1].start()
        until(lambda: len(rows(engine, WAITING)) == 2)
    for sender in senders:
        sender.join()
    assert {answer.status for answer in answers} <= {200, 409, 503}
    assert api.call(*request, headers=headers).status == 200
    assert stream(engine, customer).balance == 1
    assert_sound(engine, customer)
