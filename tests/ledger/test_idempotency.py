"""Promise 8 where it is decided: of all who come with one key, one carries the request out."""

from __future__ import annotations

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.api.context import services
from service.db.transaction import transaction
from service.errors import InFlight
from service.ledger.idempotency import FirstAnswer, KeyedRequest, claim, remember

ANSWER = FirstAnswer(200, {"ETag": '"1"'}, b"{}")


def test_whoever_looked_before_the_answer_was_kept_looks_again_once_the_key_is_free(engine, client_id):
    """The moment between the first look and the lock is short, so it is tried many times."""

    def first(request, claimed):
        with transaction(engine) as tx:
            assert claim(tx, request).answer is None
            claimed.set()
            time.sleep(0.002)
            remember(tx, request, ANSWER)

    def second(request, claimed):
        claimed.wait()
        while True:
            try:
                with transaction(engine) as tx:
                    return claim(tx, request).answer
            except InFlight:
                continue

    with ThreadPoolExecutor(8) as pool:
        for _ in range(150):
            request, claimed = KeyedRequest(client_id, uuid.uuid4().hex, b"x" * 32), threading.Event()
            winner = pool.submit(first, request, claimed)
            others = [pool.submit(second, request, claimed) for _ in range(4)]
            winner.result()
            assert [other.result() for other in others] == [ANSWER] * 4


@pytest.mark.parametrize("route", ["/v1/customer/{}/credit", "/v1/customer/{}/status"])
def test_the_doorbell_rings_after_a_request_with_a_key_as_after_one_without(app, api, customer, monkeypatch, route):
    rung = []
    with app.app_context():
        monkeypatch.setattr(services().bell, "ring", rung.append)
    body = {"credit": 1} if route.endswith("credit") else {"status": "active"}
    for headers in ({}, {"Idempotency-Key": uuid.uuid4().hex}):
        assert api.put(route.format(customer), body, headers=headers).status == 200
    assert [bell.shard for bell in rung] == [customer % 16] * 2
