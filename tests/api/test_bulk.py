"""Bulk: an outcome for each command in order, all or nothing if asked, and one key for the whole."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from sqlalchemy import text

from service.access.scopes import Scope
from service.db.transaction import transaction
from service.ledger import bulk
from tests.support.client import api_client
from tests.support.ledger import apply_everything, assert_applied, assert_sound, events, rows, stream


def post(api, commands, **more):
    headers = more.pop("headers", None)
    return api.post("/v1/ledger/bulk", {"commands": commands, **more}, headers=headers)


def add(customer, credit, **more):
    return {"type": "add", "customer": str(customer), "credit": credit, **more}


def test_each_command_has_its_outcome_in_order_and_a_bad_one_fails_no_neighbour(api, engine, new_customer):
    one, other = new_customer(credit=10, username="0906237580"), new_customer(credit=1)
    answer = post(
        api,
        [
            {"type": "set", "customer": "0906237580", "credit": 5.5, "reason": "a"},
            add(other, -2),
            add("nobody", 1),
            {"type": "status", "customer": f"id:{one}", "status": "suspended"},
            add(one, 1, reference="BULK-1"),
            add(other, 1, reference="BULK-1"),
            {"type": "gift", "customer": str(one)},
            {"type": "add", "customer": str(one)},
            {"type": "status", "customer": str(one), "status": "gone"},
            "nonsense",
            add(one, 1, surprise=True),
        ],
    )
    assert answer.status == 200
    done = {"status": 200, "id": str(one), "message": "successfully"}
    no_type = {"status": 400, "error": "type: must be one of set, add, status"}
    assert answer.json["data"] == [
        {**done, "credit": Decimal("5.5"), "event_id": f"evt_{one}_2"},
        {"status": 409, "error": "insufficient credit"},
        {"status": 404, "error": "customer not found"},
        {**done, "credit": Decimal("5.5"), "event_id": f"evt_{one}_3"},
        {**done, "credit": Decimal("6.5"), "event_id": f"evt_{one}_4"},
        {"status": 409, "error": "reference 'BULK-1' is given more than once"},
        no_type,
        {"status": 400, "error": "credit: is required"},
        {"status": 400, "error": "status: must be one of active, expired, cancelled, suspended"},
        no_type,
        {"status": 400, "error": "surprise: unknown field"},
    ]
    assert (answer.json["succeeded"], answer.json["failed"]) == (3, 8)
    assert_sound(engine, one)
    apply_everything(engine)
    assert_applied(engine, one)


def test_a_thousand_commands_over_all_shards_are_carried_out_each_customers_in_order(api, engine, new_customer):
    customers = [new_customer() for _ in range(40)]
    commands = [{"type": "set", "customer": str(customers[n * 7 % 40]), "credit": n + 1} for n in range(1000)]
    answer = post(api, commands)
    assert answer.json["succeeded"] == 1000
    assert [outcome["credit"] for outcome in answer.json["data"]] == [n + 1 for n in range(1000)]
    for customer in customers:
        assert_sound(engine, customer)
        seqs = [
            int(outcome["event_id"].rsplit("_", 1)[1])
            for outcome in answer.json["data"]
            if outcome["id"] == str(customer)
        ]
        assert seqs == list(range(2, 27))


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "commands: is required"),
        ({"commands": []}, "commands: must hold 1 to 1000 commands"),
        ({"commands": [{}] * 1001}, "commands: must hold 1 to 1000 commands"),
        ({"commands": {}}, "commands: must be a list"),
        ({"commands": [{}], "atomic": "yes"}, "atomic: must be true or false"),
        ({"commands": [{}], "atomic": 1}, "atomic: must be true or false"),
    ],
)
def test_nonsense_is_refused_by_name(api, body, error):
    answer = api.post("/v1/ledger/bulk", body)
    assert (answer.status, answer.error) == (400, error)


@pytest.mark.parametrize("kind", [[], {}, 1, None, ["set"]])
def test_a_type_that_is_no_text_fails_no_neighbour(api, customer, kind):
    answer = post(api, [add(customer, 1), {"type": kind, "customer": str(customer), "credit": 1}])
    assert [outcome["status"] for outcome in answer.json["data"]] == [200, 400]


def test_half_a_character_anywhere_is_refused_before_anything_is_done(api, engine, customer):
    raw = b'{"commands": [{"type": "add", "customer": "%d", "credit": 1}, {"type": "add", "\\ud800": 1}]}' % customer
    for headers in ({}, {"Idempotency-Key": "half"}):
        answer = api.post("/v1/ledger/bulk", raw=raw, headers=headers)
        assert (answer.status, answer.error) == (400, "body: not valid JSON")
    assert len(events(engine, customer)) == 1


def test_a_reference_is_the_first_commands_whichever_customer_comes_first(api, new_customer):
    low, high = new_customer(), new_customer()
    answer = post(api, [add(high, 1, reference="SAME"), add(low, 1, reference="SAME")])
    assert [outcome["status"] for outcome in answer.json["data"]] == [200, 409]


class TestAtomic:
    def test_all_are_carried_out_in_one_transaction(self, api, engine, new_customer):
        one, other = new_customer(credit=5), new_customer()
        answer = post(api, [add(one, -5), add(other, 5)], atomic=True)
        assert (answer.status, answer.json["succeeded"]) == (200, 2)
        written = rows(
            engine, "SELECT DISTINCT xmin::text FROM ledger_event WHERE customer_id = ANY(:ids) AND seq > 1",
            ids=[one, other],
        )  # fmt: skip
        assert len(written) == 1

    @pytest.mark.parametrize(
        ("bad", "status", "error"),
        [
            (add("nobody", 1), 404, "customer not found"),
            ({"type": "add", "customer": "x", "credit": "1"}, 400, "credit: must be a number"),
        ],
    )
    def test_one_that_is_refused_undoes_all_and_decides_the_answer(self, api, engine, customer, bad, status, error):
        answer = post(api, [add(customer, 1), bad, add(customer, 1)], atomic=True)
        assert (answer.status, answer.error) == (status, f"commands[1]: {error}")
        assert len(events(engine, customer)) == 1

    def test_what_is_insufficient_after_its_neighbours_undoes_them(self, api, engine, new_customer):
        customer = new_customer(credit=5)
        answer = post(api, [add(customer, -3, reference="A-1"), add(customer, -3)], atomic=True)
        assert (answer.status, answer.error) == (409, "commands[1]: insufficient credit")
        assert len(events(engine, customer)) == 1
        assert post(api, [add(customer, -3, reference="A-1")], atomic=True).status == 200


class TestAKey:
    def test_sent_again_it_is_answered_again(self, api, engine, new_customer):
        customer = new_customer(credit=5)
        for atomic in (True, False):
            headers = {"Idempotency-Key": uuid.uuid4().hex}
            commands = [add(customer, 1), add(customer, 2)]
            first, again = (post(api, commands, atomic=atomic, headers=headers) for _ in range(2))
            assert first.body == again.body
            assert again.headers["Idempotency-Replayed"] == "true"
        assert len(events(engine, customer)) == 5

    def test_cut_short_between_its_slices_it_is_taken_up_again(self, api, engine, new_customer, monkeypatch):
        customers = [new_customer() for _ in range(16)]
        commands = [add(customer, 1) for customer in customers for _ in range(3)]
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        slices, append = iter(range(100)), bulk.append

        def breaks(*args, **kwargs):
            if next(slices) == 7:
                raise RuntimeError("the process is killed")
            return append(*args, **kwargs)

        monkeypatch.setattr(bulk, "append", breaks)
        assert post(api, commands, headers=headers).status == 500
        written = sum(len(events(engine, customer)) - 1 for customer in customers)
        assert 0 < written < 48
        monkeypatch.undo()
        assert post(api, commands[:-1], headers=headers).status == 422
        answer = post(api, commands, headers=headers)
        assert (answer.status, answer.json["succeeded"]) == (200, 48)
        assert [len(events(engine, customer)) for customer in customers] == [4] * 16
        assert [outcome["credit"] for outcome in answer.json["data"]] == [1, 2, 3] * 16
        assert post(api, commands, headers=headers).body == answer.body


def test_a_key_that_was_forgotten_still_does_nothing_twice(api, engine, new_customer):
    customer = new_customer(credit=5)
    headers, commands = {"Idempotency-Key": uuid.uuid4().hex}, [add(customer, 1), add(customer, -100)]
    first = post(api, commands, headers=headers)
    with transaction(engine) as tx:
        tx.execute(text("DELETE FROM idempotency_key WHERE client_id = :id"), {"id": api.client_id})
    assert post(api, commands, headers=headers).body == first.body
    assert len(events(engine, customer)) == 2


def test_taken_up_again_a_command_is_its_customers_though_the_caller_id_moved(api, engine, new_customer):
    one, other, locked = new_customer(caller_ids=["m1"]), new_customer(), new_customer()
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    commands = [add("m1", 10), add(locked, 10)]
    with transaction(engine) as tx:
        tx.execute(text("SELECT FROM stream WHERE customer_id = :id FOR UPDATE"), {"id": locked})
        assert post(api, commands, headers=headers).status == 503
    assert api.put("/v1/callerid/m1", {"user_id": other}).status == 200
    answer = post(api, commands, headers=headers)
    assert [outcome["id"] for outcome in answer.json["data"]] == [str(one), str(locked)]
    assert [stream(engine, each).balance for each in (one, other, locked)] == [10, 0, 10]


def test_without_the_scope_for_it_a_status_is_refused_and_its_neighbours_go_on(app, engine, client_id, customer):
    only = api_client(app, engine, client_id, [Scope.CREDIT_WRITE])
    answer = post(only, [{"type": "status", "customer": str(customer), "status": "active"}, add(customer, 1)])
    assert [outcome["status"] for outcome in answer.json["data"]] == [403, 200]


def test_a_slice_that_waits_for_a_locked_stream_gives_up_and_the_others_go_on(api, engine, new_customer):
    locked, free = new_customer(), new_customer()
    with transaction(engine) as tx:
        tx.execute(text("SELECT FROM stream WHERE customer_id = :id FOR UPDATE"), {"id": locked})
        answer = post(api, [add(locked, 1), add(free, 1)])
        assert [outcome["status"] for outcome in answer.json["data"]] == [503, 200]
        assert post(api, [add(locked, 1)]).status == 503
    assert (len(events(engine, locked)), len(events(engine, free))) == (1, 2)


def test_with_a_key_no_answer_is_kept_before_every_slice_is_through(api, engine, new_customer):
    locked, free = new_customer(), new_customer()
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    commands = [add(locked, 1), add(free, 1)]
    with transaction(engine) as tx:
        tx.execute(text("SELECT FROM stream WHERE customer_id = :id FOR UPDATE"), {"id": locked})
        assert post(api, commands, headers=headers).status == 503
    answer = post(api, commands, headers=headers)
    assert [outcome["credit"] for outcome in answer.json["data"]] == [1, 1]
    assert (len(events(engine, locked)), len(events(engine, free))) == (2, 2)


def test_many_at_once_over_the_same_customers_do_not_deadlock(api, engine, new_customer):
    customers = [new_customer() for _ in range(20)]

    def run(n):
        turned = customers[n:] + customers[:n]
        return post(api, [add(customer, 1, reference=f"r{customer}-{n}") for customer in turned], atomic=n % 2 == 0)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(run, range(16)))
    assert {(answer.status, answer.json["succeeded"]) for answer in answers} == {(200, 20)}
    for customer in customers:
        assert_sound(engine, customer)
        assert events(engine, customer)[-1].balance_after == 16
