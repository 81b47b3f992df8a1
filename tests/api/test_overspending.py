"""What is there can be spent once: parallel callers never take, hold, undo or use up the same thing twice."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from functools import partial

import pytest
from sqlalchemy import text

from service import clock
from service.db.transaction import transaction
from service.ledger.holds import expire_holds
from tests.support.ledger import all_of, apply_everything, assert_applied, assert_sound, events, rows, stream
from tests.support.parallel import at_once

MANY = 32
SMALL = 7  # of 120 available: seventeen times
FIT = 17
INSUFFICIENT = (409, "insufficient credit")


def outcome(answer):
    return answer.status, None if answer.status == 200 else answer.error


def keys(n, keyed):
    return {"headers": {"Idempotency-Key": f"key-{n}"}} if keyed else {}


@pytest.fixture(params=[False, True], ids=["without keys", "with keys"])
def keyed(request):
    return request.param


@pytest.fixture
def spender(new_customer):
    """A customer with 100 and a limit of 20."""
    return new_customer(credit=Decimal(100), creditlimit=Decimal(20))


def take(api, customer, keyed, n):
    return api.put(f"/v1/customer/{customer}/credit/add", {"credit": -SMALL}, **keys(n, keyed))


def hold(api, customer, keyed, n, amount=SMALL):
    body = {"amount": amount, "expires_in": 600}
    return api.post(f"/v1/customer/{customer}/hold", body, **keys(n, keyed))


def make_late(engine, customer, by=timedelta(seconds=1)):
    """The time of the customer's holds was over so long ago, and no clock has come by."""
    with transaction(engine) as tx:
        statement = "UPDATE hold SET expires_at = :at WHERE customer_id = :id AND status = 'open'"
        tx.execute(text(statement), {"at": clock.now() - by, "id": customer})


def test_as_many_holds_as_fit(api, engine, spender, keyed):
    answers = at_once(*[partial(hold, api, spender, keyed, n) for n in range(MANY)])
    assert Counter(map(outcome, answers)) == {(200, None): FIT, INSUFFICIENT: MANY - FIT}
    left = sorted(answer.json["available"] for answer in answers if answer.status == 200)
    assert left == [120 - SMALL * n for n in range(FIT, 0, -1)]
    open_holds = "SELECT sum(amount) FROM hold WHERE customer_id = :id AND status = 'open'"
    assert rows(engine, open_holds, id=spender)[0][0] == stream(engine, spender).held == SMALL * FIT
    assert_sound(engine, spender)


def test_as_many_take_aways_as_fit(api, engine, spender, keyed):
    answers = at_once(*[partial(take, api, spender, keyed, n) for n in range(MANY)])
    assert Counter(map(outcome, answers)) == {(200, None): FIT, INSUFFICIENT: MANY - FIT}
    assert stream(engine, spender).balance == 100 - SMALL * FIT
    assert_sound(engine, spender)


def test_holds_and_take_aways_share_one_floor(api, engine, spender, keyed):
    ways = [partial((hold, take)[n % 2], api, spender, keyed, n) for n in range(MANY)]
    assert Counter(map(outcome, at_once(*ways)))[200, None] == FIT
    head = stream(engine, spender)
    assert head.balance - head.held + head.creditlimit == 120 - SMALL * FIT
    kinds = Counter(event.kind for event in events(engine, spender))
    assert kinds["hold.created"] * SMALL == head.held
    assert kinds["credit.exhausted"] == 0


def test_a_bulk_takes_as_much_as_fits(api, spender):
    commands = [{"type": "add", "customer": str(spender), "credit": -SMALL}] * MANY
    answers = at_once(*[lambda: api.post("/v1/ledger/bulk", {"commands": commands})] * 4)
    assert sum(answer.json["succeeded"] for answer in answers) == FIT
    refused = [each for answer in answers for each in answer.json["data"] if each["status"] != 200]
    assert {(each["status"], each["error"]) for each in refused} == {INSUFFICIENT}


def test_nothing_is_exhausted_or_low_twice(api, engine, new_customer):
    customer = new_customer(credit=Decimal(32), credit_notification=Decimal(16))
    one = {"credit": -1}
    answers = at_once(*[lambda: api.put(f"/v1/customer/{customer}/credit/add", one)] * MANY)
    assert {answer.status for answer in answers} == {200}
    warned = [(e.kind, e.balance_after) for e in events(engine, customer) if e.actor == "system"]
    assert warned == [("credit.low", 15), ("credit.exhausted", 0)]
    shown = {int(answer.headers["ETag"].strip('"')) for answer in answers}
    assert len(shown) == MANY
    assert max(shown) == stream(engine, customer).last_seq == 1 + MANY + 2


def test_a_hold_is_captured_or_released_once(api, engine, spender):
    for _ in range(5):
        made = hold(api, spender, False, 0).json["id"]
        ways = [("capture", {}), ("capture", {"amount": 1}), ("release", None)] * 5
        answers = at_once(*[partial(api.put, f"/v1/hold/{made}/{way}", body) for way, body in ways])
        [winner] = [n for n, answer in enumerate(answers) if answer.status == 200]
        how = f"{ways[winner][0]}d"
        assert {outcome(a) for a in answers if a.status != 200} == {(409, f"{made} was {how} already")}
        assert api.get(f"/v1/hold/{made}").json["status"] == how
    assert stream(engine, spender).held == 0
    kinds = Counter(event.kind for event in events(engine, spender))
    assert kinds["hold.captured"] + kinds["hold.released"] == 5
    assert_sound(engine, spender)


def test_a_hold_that_ends_while_it_is_captured_and_released_ends_once(api, engine, new_customer):
    customers = [new_customer(credit=10) for _ in range(8)]
    for customer in customers:
        made = hold(api, customer, False, 0).json["id"]
        make_late(engine, customer, timedelta(milliseconds=-50))  # that is, soon
        over = threading.Event()

        def try_it(way, made=made, over=over):
            answers = []
            while not over.is_set():
                answers.append(api.put(f"/v1/hold/{made}/{way}", {"amount": 1} if way == "capture" else None))
                if answers[-1].status == 409:
                    break
            return answers

        def expire(customer=customer, over=over):
            deadline = time.monotonic() + 10
            while stream(engine, customer).held and time.monotonic() < deadline:
                all_of(expire_holds, engine)
            over.set()
            return []

        ways = [partial(try_it, random.choice(["capture", "release"])) for _ in range(3)]
        time.sleep(random.uniform(0.03, 0.05))
        answers = [answer for each in at_once(expire, *ways) for answer in each]
        closing = [e for e in events(engine, customer) if e.refers_to == 2 and e.kind.startswith("hold.")]
        assert len(closing) == 1
        won = closing[0].kind != "hold.expired"
        assert [answer.status for answer in answers].count(200) == won
        assert {answer.status for answer in answers} <= {200, 409}
        taken = 1 if closing[0].kind == "hold.captured" else 0
        assert (stream(engine, customer).balance, stream(engine, customer).held) == (10 - taken, 0)
        assert_sound(engine, customer)


def test_a_change_is_undone_once(api, engine, spender, keyed):
    done = api.put(f"/v1/customer/{spender}/credit/add", {"credit": 10}).headers["Ledger-Event"]

    def undo(n):
        return api.post(f"/v1/event/{done}/reversal", {"reason": "twice"}, **keys(n, keyed))

    answers = at_once(*[partial(undo, n) for n in range(16)])
    more = (409, f"{done} cannot be reversed by more than is left of it")
    assert Counter(map(outcome, answers)) == {(200, None): 1, more: 15}
    assert stream(engine, spender).balance == 100


def test_parts_of_a_change_are_never_more_than_it_was(api, engine, spender):
    done = api.put(f"/v1/customer/{spender}/credit", {"credit": 110}).headers["Ledger-Event"]
    undo = partial(api.post, f"/v1/event/{done}/reversal", {"reason": "in parts", "amount": 3})
    assert Counter(answer.status for answer in at_once(*[undo] * 16)) == {200: 3, 409: 13}
    assert stream(engine, spender).balance == 101
    assert api.post(f"/v1/event/{done}/reversal", {"reason": "the rest"}).json["credit"] == 100


def test_a_reference_pays_one_customer(api, engine, new_customer, keyed):
    customers = [new_customer() for _ in range(16)]
    for n in range(5):
        ways = [
            partial(
                api.put,
                f"/v1/customer/{c}/credit/add",
                {"credit": 1, "reference": f"VCB-{n}"},
                **keys(f"{n}/{c}", keyed),
            )
            for c in customers
        ]
        answers = at_once(*ways)
        [winner] = [answer for answer in answers if answer.status == 200]
        first = winner.headers["Ledger-Event"]
        for answer in answers:
            if answer is not winner:
                assert outcome(answer) == (409, f"reference 'VCB-{n}' was used already, by {first}")
                assert answer.headers["Ledger-Event"] == first
    assert sum(stream(engine, customer).balance for customer in customers) == 5


def test_a_reference_pays_once_within_and_between_bulks(api, engine, new_customer):
    customers = [new_customer() for _ in range(20)]
    commands = [{"type": "add", "customer": str(c), "credit": 1, "reference": "VCB-1"} for c in customers]
    bulks = [{"commands": random.sample(commands, k=20), "atomic": False} for _ in range(4)]
    answers = at_once(*[partial(api.post, "/v1/ledger/bulk", body) for body in bulks])
    assert [answer.status for answer in answers] == [200] * 4
    [winner] = [each for answer in answers for each in answer.json["data"] if each["status"] == 200]
    refused = [each for answer in answers for each in answer.json["data"] if each["status"] != 200]
    assert {each["error"] for each in refused} == {
        f"reference 'VCB-1' was used already, by {winner['event_id']}", "reference 'VCB-1' is given more than once",
    }  # fmt: skip
    assert sum(stream(engine, customer).balance for customer in customers) == 1


def test_an_atomic_bulk_that_uses_a_reference_twice_uses_it_not_at_all(api, customer, new_customer):
    commands = [{"type": "add", "customer": str(c), "credit": 1, "reference": "R"} for c in (customer, new_customer())]
    assert api.post("/v1/ledger/bulk", {"commands": commands, "atomic": True}).status == 409
    assert api.put(f"/v1/customer/{customer}/credit/add", {"credit": 1, "reference": "R"}).json["credit"] == 1


@pytest.mark.parametrize("same", ["username", "cid"])
def test_a_name_is_one_customers(api, engine, client_id, same, keyed):
    def create(n):
        fields = {"username": f"{n:010}", "cid": f"09{n}", "credit": 5, "reference": f"R{n}"}
        fields[same] = "0900000099"
        return api.post("/v1/customer", fields, **keys(n, keyed))

    answers = at_once(*[partial(create, n) for n in range(16)])
    assert Counter(map(outcome, answers)) == {(200, None): 1, (409, f"{same} is taken already"): 15}
    assert api.get("/v1/customer").json["total"] == 1
    left = "SELECT count(*) FROM {} WHERE client_id = :id"
    assert [rows(engine, left.format(table), id=client_id)[0][0] for table in ("stream", "ledger_reference")] == [1, 1]


def test_a_caller_id_is_whose_the_streams_say(api, engine, new_customer, keyed):
    customers = [new_customer() for _ in range(4)]
    assert api.post("/v1/callerid", {"user_id": str(customers[0]), "cid": "0901"}).status == 200
    goals = [random.choice(customers) for _ in range(24)]
    ways = [
        partial(api.put, "/v1/callerid/0901", {"user_id": str(goal)}, **keys(n, keyed)) for n, goal in enumerate(goals)
    ]
    assert {answer.status for answer in at_once(*ways)} == {200}
    owner = api.get("/v1/customer/caller_id:0901").json["id"]
    for customer in customers:
        moves = [e.kind.removeprefix("callerid.") for e in events(engine, customer) if e.kind.startswith("callerid.")]
        assert moves[::2] == ["added"] * len(moves[::2])
        assert moves[1::2] == ["removed"] * len(moves[1::2])
        assert (len(moves) % 2 == 1) == (customer == owner)
        assert_sound(engine, customer)


def test_an_etag_lets_one_change_through(api, engine, customer):
    for n in range(3):
        seen = api.get(f"/v1/customer/{customer}").headers["ETag"]
        way = partial(api.put, f"/v1/customer/{customer}/credit/add", {"credit": 1}, headers={"If-Match": seen})
        assert Counter(answer.status for answer in at_once(*[way] * 16)) == {200: 1, 412: 15}
        assert stream(engine, customer).balance == n + 1


def test_atomic_bulks_and_single_changes_do_not_lock_each_other_out(api, engine, new_customer):
    customers = [new_customer(credit=1000) for _ in range(12)]

    def many(n, atomic):
        commands = [
            {"type": "add", "customer": str(c), "credit": random.choice([1, -1]), "reference": f"{n}/{number}"}
            for number, c in enumerate(random.sample(customers * 2, k=16))
        ]
        body = {"commands": commands, "atomic": atomic}
        return [api.post("/v1/ledger/bulk", body, **keys(n, n % 3 == 0))]

    def one(n):
        body = {"credit": 1, "reference": f"one/{n}"}
        return [api.put(f"/v1/customer/{c}/credit/add", {**body, "reference": f"{n}/{c}"}) for c in customers]

    def move(n):
        return [api.put("/v1/callerid/0902", {"user_id": str(c)}) for c in random.sample(customers, k=6)]

    api.post("/v1/callerid", {"user_id": str(customers[0]), "cid": "0902"})
    ways = [
        *[partial(many, n, n % 2 == 0) for n in range(12)],
        *[partial(one, n) for n in range(100, 106)],
        partial(move, 0),
        partial(move, 1),
    ]
    answers = [answer for each in at_once(*ways) for answer in each]
    assert [outcome(answer) for answer in answers if answer.status != 200] == []
    apply_everything(engine)
    for customer in customers:
        assert_sound(engine, customer)
        assert_applied(engine, customer)


def test_a_hold_whose_time_is_over_frees_its_amount_before_the_clock_comes_by(api, engine, new_customer):
    customer = new_customer(credit=10)
    first = hold(api, customer, False, 0, amount=10).json["id"]
    assert outcome(hold(api, customer, False, 0, amount=1)) == INSUFFICIENT
    make_late(engine, customer)
    assert api.get(f"/v1/customer/{customer}/balance").json["available"] == 10
    assert api.get(f"/v1/hold/{first}").json["status"] == "expired"
    second = hold(api, customer, False, 0, amount=10)
    assert second.status == 200
    assert outcome(hold(api, customer, False, 0, amount=1)) == INSUFFICIENT
    assert outcome(api.put(f"/v1/hold/{first}/capture")) == (409, f"{first} has expired")
    all_of(expire_holds, engine)
    assert stream(engine, customer).held == 10
    assert outcome(hold(api, customer, False, 0, amount=1)) == INSUFFICIENT
    assert_sound(engine, customer)


def test_a_hold_ends_after_as_many_seconds_as_were_asked_for(api, new_customer):
    customer = new_customer(credit=10)
    made = api.post(f"/v1/customer/{customer}/hold", {"amount": 10, "expires_in": 1}).json
    assert api.put(f"/v1/customer/{customer}/credit/add", {"credit": -1}).status == 409
    time.sleep(1.05)
    assert outcome(api.put(f"/v1/hold/{made['id']}/capture")) == (409, f"{made['id']} has expired")
    assert api.put(f"/v1/customer/{customer}/credit/add", {"credit": -10}).json["credit"] == 0


@pytest.mark.parametrize(
    ("method", "path", "body", "available"),
    [
        ("POST", "hold", {"amount": 4, "expires_in": 60}, 6),
        ("PUT", "limit", {"credit_limit": 5}, 15),
    ],
)
def test_what_an_answer_calls_available_is_what_the_balance_calls_available(
    api, engine, new_customer, method, path, body, available
):
    """A hold whose time is over holds nothing, in every answer."""
    customer = new_customer(credit=10)
    hold(api, customer, False, 0, amount=10)
    make_late(engine, customer)
    answer = api.call(method, f"/v1/customer/{customer}/{path}", body)
    shown = api.get(f"/v1/customer/{customer}/balance").json["available"]
    assert (answer.json["available"], shown) == (available, available)


def test_credit_that_is_taken_to_the_last_is_exhausted_whatever_holds_have_ended_before(api, engine, new_customer):
    customer = new_customer(credit=10)
    hold(api, customer, False, 0, amount=10)
    make_late(engine, customer)
    assert api.put(f"/v1/customer/{customer}/credit/add", {"credit": -10}).status == 200
    assert [e.kind for e in events(engine, customer)][-1] == "credit.exhausted"
