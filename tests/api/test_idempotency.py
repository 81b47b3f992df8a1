"""Promise 8: a repeated Idempotency-Key returns the first answer, whoever repeats it, however often, and whenever."""

from __future__ import annotations

import hashlib
import threading
import tracemalloc
import uuid
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain

import pytest
from redis import Redis
from sqlalchemy import text

from service.access.scopes import Scope
from service.app import create_app
from service.db.transaction import transaction
from service.ledger.idempotency import forget_old
from tests.support.client import ApiClient, api_client
from tests.support.ledger import assert_sound, events, rows, stream
from tests.support.parallel import at_once
from tests.support.processes import until

IN_FLIGHT = "Idempotency-Key: the first request with it is still in flight"
OTHER_REQUEST = "Idempotency-Key: used already for another request"
KEEP = ("ETag", "Ledger-Event", "Content-Type")


def keyed(key="the key"):
    return {"Idempotency-Key": key.replace(" ", "-")}


def shown(answer):
    """What a retry must repeat."""
    return answer.status, answer.body, [answer.headers.get(name) for name in KEEP]


def replayed(answer):
    return answer.headers.get("Idempotency-Replayed") == "true"


def add(customer, credit=1):
    return "PUT", f"/v1/customer/{customer}/credit/add", {"credit": credit}


def adds(*customers, atomic=False):
    commands = [{"type": "add", "customer": f"id:{customer}", "credit": 1} for customer in customers]
    return "POST", "/v1/ledger/bulk", {"commands": commands, "atomic": atomic}


REQUESTS = {  # by what it does: the request, for a customer with a credit of 50; how many events it makes
    "a top-up": (add, 1),
    "a set": (lambda c: ("PUT", f"/v1/customer/{c}/credit", {"credit": 70}), 1),
    "a status": (lambda c: ("PUT", f"/v1/customer/{c}/status", {"status": "suspended"}), 1),
    "a limit": (lambda c: ("PUT", f"/v1/customer/{c}/limit", {"credit_limit": 3}), 1),
    "a hold": (lambda c: ("POST", f"/v1/customer/{c}/hold", {"amount": 5, "expires_in": 60}), 1),
    "a capture": (lambda c: ("PUT", f"/v1/hold/hold_{c}_2/capture", {"amount": 3}), 1),
    "a release": (lambda c: ("PUT", f"/v1/hold/hold_{c}_2/release", None), 1),
    "a reversal": (lambda c: ("POST", f"/v1/event/evt_{c}_1/reversal", {"reason": "typo", "amount": 2}), 1),
    "a new customer": (lambda c: ("POST", "/v1/customer", {"username": f"{c:010}", "cid": f"07{c}"}), 1),
    "a new caller id": (lambda c: ("POST", "/v1/callerid", {"user_id": str(c), "cid": f"06{c}"}), 1),
    "a bulk": (lambda c: adds(c, c, c), 3),
    "an atomic bulk": (lambda c: adds(c, c, c, atomic=True), 3),
}


@pytest.fixture
def count(engine, client_id):
    return lambda: rows(engine, "SELECT count(*) FROM ledger_event WHERE client_id = :id", id=client_id)[0][0]


@pytest.fixture
def rich(api, new_customer):
    """A customer with a credit of 50, 10 of which its second event holds."""
    customer = new_customer(credit=50)
    assert api.post(f"/v1/customer/{customer}/hold", {"amount": 10, "expires_in": 600}).status == 200
    return customer


@pytest.mark.parametrize("what", REQUESTS)
def test_two_hundred_retries_by_ten_callers_are_one_change(api, engine, rich, count, what):
    make, made = REQUESTS[what]
    request, before = make(rich), count()
    answers = [*chain.from_iterable(at_once(*[lambda: [api.call(*request, headers=keyed()) for _ in range(20)]] * 10))]
    good = [answer for answer in answers if answer.status == 200]
    assert len({repr(shown(answer)) for answer in good}) == 1
    assert Counter(replayed(answer) for answer in good)[False] == 1
    assert {(answer.status, answer.error) for answer in answers if answer.status != 200} <= {(409, IN_FLIGHT)}
    assert count() == before + made
    assert_sound(engine, rich)


@pytest.mark.parametrize("what", REQUESTS)
def test_an_event_keeps_the_key_that_made_it(api, engine, client_id, rich, what):
    make, made = REQUESTS[what]
    assert api.call(*make(rich), headers=keyed()).status == 200
    found = rows(engine, "SELECT kind FROM ledger_event WHERE client_id = :id AND idempotency_key = 'the-key'",
                 id=client_id)  # fmt: skip
    assert len(found) == made


def test_a_refusal_stays_a_refusal_after_a_top_up(api, customer):
    first = api.call(*add(customer, -10), headers=keyed())
    assert (first.status, first.error) == (409, "insufficient credit")
    assert api.call(*add(customer, 100)).status == 200
    again = api.call(*add(customer, -10), headers=keyed())
    assert shown(again) == shown(first)
    assert replayed(again)
    assert api.call(*add(customer, -10), headers=keyed("another")).json["credit"] == 90


def test_who_was_not_found_stays_not_found(api, new_customer):
    request = ("PUT", "/v1/customer/username:late/credit", {"credit": 1})
    assert api.call(*request, headers=keyed()).status == 404
    new_customer(username="late")
    assert api.call(*request, headers=keyed()).status == 404
    assert api.call(*request, headers=keyed("another")).status == 200


def test_a_failed_precondition_is_kept_with_its_etag(api, customer):
    stale = {**keyed(), "If-Match": '"7"'}
    first = api.call(*add(customer), headers=stale)
    for _ in range(6):
        assert api.call(*add(customer)).status == 200
    assert (first.status, first.headers["ETag"]) == (412, '"1"')
    assert shown(api.call(*add(customer), headers=stale)) == shown(first)


def test_a_used_reference_is_refused_and_the_refusal_names_the_first_event_for_good(api, customer):
    body = {"credit": 1, "reference": "VCB-1"}
    assert api.put(f"/v1/customer/{customer}/credit/add", body).status == 200
    first = api.put(f"/v1/customer/{customer}/credit/add", body, headers=keyed())
    assert (first.status, first.headers["Ledger-Event"]) == (409, f"evt_{customer}_2")
    assert shown(api.put(f"/v1/customer/{customer}/credit/add", body, headers=keyed())) == shown(first)


@pytest.mark.parametrize(
    "other",
    [
        lambda c, _: add(c, 2),
        lambda c, _: ("PUT", f"/v1/customer/{c}/credit", {"credit": 1}),
        lambda _, d: add(d),
        lambda c, _: ("PUT", f"/v1/customer/{c}/credit/add", {"credit": 1, "reason": "more"}),
        lambda c, _: ("PUT", f"/v1/customer/{c}/credit/add", {"credit": "1"}),
        lambda c, _: ("POST", f"/v1/customer/{c}/hold", {"amount": 1, "expires_in": 1}),
    ],
    ids=["another body", "another route", "another customer", "a reason", "a text for a number", "another method"],
)
def test_a_key_stands_for_one_request(api, engine, new_customer, other):
    customer, neighbour = new_customer(), new_customer()
    first = api.call(*add(customer), headers=keyed())
    refused = api.call(*other(customer, neighbour), headers=keyed())
    assert (refused.status, refused.error) == (422, OTHER_REQUEST)
    assert shown(api.call(*add(customer), headers=keyed())) == shown(first)
    assert (stream(engine, customer).last_seq, stream(engine, neighbour).last_seq) == (2, 1)


def test_a_text_is_not_the_number_that_it_spells(api, customer):
    path = f"/v1/customer/{customer}/credit/add"
    assert api.put(path, raw=b'{"credit": 1.5}', headers=keyed()).status == 200
    assert api.put(path, raw=b'{"credit": "1.5"}', headers=keyed()).status == 422


def test_keys_of_two_clients_do_not_meet(api, foreign_api, engine, customer):
    other = foreign_api.post("/v1/customer", {"username": "0000000001"}, headers=keyed())
    mine = api.call(*add(customer), headers=keyed())
    theirs = foreign_api.call(*add(other.json["id"]), headers=keyed("second"))
    mine_too = api.call(*add(customer), headers=keyed("second"))
    assert [each.status for each in (other, mine, theirs, mine_too)] == [200] * 4
    assert not any(map(replayed, (other, mine, theirs, mine_too)))
    assert stream(engine, customer).balance == 2


def test_keys_are_told_apart_to_the_letter(api, customer):
    answers = [api.call(*add(customer), headers={"Idempotency-Key": key}) for key in ("a", "A", "a.", "~" * 255)]
    assert [answer.json["credit"] for answer in answers] == [1, 2, 3, 4]


def test_the_same_json_spelled_otherwise_is_the_same_request(api, customer):
    path = f"/v1/customer/{customer}/credit/add"
    first = api.put(path, raw='{"credit":1.5,"reason":"nạp","reference":"R1"}'.encode(), headers=keyed())
    spellings = [
        '{ "reference" : "R1",\n\t"reason":"n\\u1ea1p",  "credit":1.5 }',
        '\r\n{"reason":"nạp","credit":1.5,"reference":"R1"}  ',
    ]
    for spelling in spellings:
        again = api.put(path, raw=spelling.encode(), headers=keyed())
        assert replayed(again)
        assert shown(again) == shown(first)


@pytest.mark.parametrize(
    "bad",
    [b'{"credit": "1"}', b'{"credit": 1.000001}', b'{"credit": 1, "x": 1}', b"{", b"", b'{"credit": 1, "credit": 2}'],
)
def test_a_request_that_could_not_be_read_may_be_mended_under_its_key(api, customer, bad):
    path = f"/v1/customer/{customer}/credit/add"
    assert api.put(path, raw=bad, headers=keyed()).status in {400, 415}
    mended = api.call(*add(customer), headers=keyed())
    assert (mended.status, mended.json["credit"], replayed(mended)) == (200, 1, False)


def test_a_wrong_content_type_may_be_mended_under_its_key(api, customer):
    method, path, body = add(customer)
    assert api.call(method, path, body, content_type="text/plain", headers=keyed()).status == 415
    assert api.call(method, path, body, headers=keyed()).status == 200


def test_a_bad_atomic_bulk_may_be_mended_under_its_key(api, customer):
    method, path, body = adds(customer, atomic=True)
    strange = {**body, "commands": [*body["commands"], {"type": "strange"}]}
    assert api.call(method, path, strange, headers=keyed()).status == 400
    assert api.call(method, path, body, headers=keyed()).json["succeeded"] == 1


def test_a_missing_scope_uses_no_key_up(app, engine, api, client_id, customer):
    reader = api_client(app, engine, client_id, [Scope.CUSTOMER_READ])
    assert reader.call(*add(customer), headers=keyed()).status == 403
    assert api.call(*add(customer), headers=keyed()).status == 200
    assert reader.call(*add(customer), headers=keyed()).status == 403


def test_a_key_survives_the_loss_of_redis(api, config, customer):
    first = api.call(*add(customer), headers=keyed())
    Redis.from_url(config.redis_url).flushdb()
    again = api.call(*add(customer), headers=keyed())
    assert shown(again) == shown(first)
    assert replayed(again)


def test_a_key_lives_for_thirty_days_and_its_event_keeps_it_for_good(api, engine, client_id, customer):
    aged = text("UPDATE idempotency_key SET created_at = now() - CAST(:age AS interval) "
                "WHERE client_id = :id AND key = :key")  # fmt: skip
    for key in ("old", "young"):
        assert api.call(*add(customer), headers=keyed(key)).status == 200
    with transaction(engine) as tx:
        tx.execute(aged, {"age": "30 days 1 minute", "id": client_id, "key": "old"})
        tx.execute(aged, {"age": "29 days 23 hours", "id": client_id, "key": "young"})
    assert forget_old(engine, 30) >= 1
    young, old = (api.call(*add(customer), headers=keyed(key)) for key in ("young", "old"))
    assert (replayed(young), replayed(old)) == (True, False)
    assert [event.idempotency_key for event in events(engine, customer)] == [None, "old", "young", "old"]


@pytest.mark.parametrize("key", ["", " ", "k" * 256, "khóa", "a b", "tab\there", "\x01", "\x7f"])
def test_what_is_no_key_is_refused(api, engine, customer, key):
    answer = api.call(*add(customer), headers={"Idempotency-Key": key})
    assert (answer.status, answer.error) == (400, "Idempotency-Key: must be 1 to 255 visible ASCII characters")
    assert stream(engine, customer).last_seq == 1


WAITING = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@contextmanager
def locked(engine, *customers):
    """Somebody else holds these streams."""
    with transaction(engine) as tx:
        tx.execute(text("SELECT FROM stream WHERE customer_id = ANY (:ids) FOR UPDATE"), {"ids": list(customers)})
        yield


def test_a_request_that_met_a_locked_stream_works_later_with_the_same_key(api, engine, new_customer):
    customers = [new_customer() for _ in range(17)]  # two of them share a shard
    requests = [add(customers[0]), adds(*customers), adds(*customers, atomic=True)]
    with locked(engine, *customers[:2]):
        held_up = at_once(
            *[lambda n=n: api.call(*requests[n], headers=keyed(f"key-{n}")) for n in range(len(requests))]
        )
    assert [answer.status for answer in held_up] == [503] * len(requests)
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in held_up)
    for n, request in enumerate(requests):
        answer, again = (api.call(*request, headers=keyed(f"key-{n}")) for _ in range(2))
        assert answer.status == 200, answer.body
        assert (replayed(answer), replayed(again)) == (False, True)
        assert shown(again) == shown(answer)
    assert [stream(engine, customer).balance for customer in customers] == [3] + [2] * 16


def test_while_a_request_is_under_way_its_key_is_in_flight(api, engine, customer):
    """And not a thing that is waited for: a caller that repeats itself must not use up the threads of the service."""
    answers = {}
    with locked(engine, customer):
        first = threading.Thread(target=lambda: answers.update(first=api.call(*add(customer), headers=keyed())))
        first.start()
        until(lambda: rows(engine, WAITING), what="the first request waits for the stream")
        second = api.call(*add(customer), headers=keyed())
    first.join()
    assert (second.status, second.error) == (409, IN_FLIGHT)
    assert answers["first"].status == 200
    assert api.call(*add(customer), headers=keyed()).body == answers["first"].body


@pytest.mark.parametrize("callers", [4, 12])
def test_as_many_keyed_bulks_as_there_are_connections_do_not_wait_for_each_other(config, api, new_customer, callers):
    """Each needs a connection for its key and one for its slices."""
    app = create_app(replace(config, database_pool_size=4))
    small = ApiClient(app, api.client_id, api.key, api.headers)
    customers = [new_customer() for _ in range(32)]
    rounds = range(3)
    for n in rounds:
        answers = at_once(
            *[lambda k=k, n=n: small.call(*adds(*customers), headers=keyed(f"{n}-{k}")) for k in range(callers)]
        )
        assert [answer.status for answer in answers] == [200] * callers, [answer.body for answer in answers]
    assert small.get(f"/v1/customer/{customers[0]}").json["credit"] == len(rounds) * callers


def test_keys_of_earlier_releases_stay_good_with_json_and_with_no_body(api, engine, client_id, rich):
    requests = [
        ("body", f"/v1/customer/{rich}/credit/add", b'{"credit": 1}', b'{"credit": {"number": "1e0"}}'),
        ("none", f"/v1/hold/hold_{rich}_2/release", None, b""),
    ]
    for key, path, raw, content in requests:
        for media_type in ("application/json; charset=utf-8", "application/merge-patch+json"):
            answer = api.call("PUT", path, raw=raw, content_type=media_type, headers={"Idempotency-Key": key})
            assert answer.status == 200
        [kept] = rows(engine, "SELECT fingerprint FROM idempotency_key WHERE client_id = :c AND key = :k",
                      c=client_id, k=key)  # fmt: skip
        assert bytes(kept.fingerprint) == hashlib.sha256(b"PUT\n%b\n%b" % (path.encode(), content)).digest()


def test_one_number_in_two_spellings_is_one_request(api, customer):
    path, headers = f"/v1/customer/{customer}/credit/add", {"Idempotency-Key": uuid.uuid4().hex}
    for spelling in (b"100", b"100.0", b"1e2", b"1.000E2"):
        assert api.put(path, raw=b'{"credit": %b}' % spelling, headers=headers).json["credit"] == 100
    assert api.put(path, raw=b'{"credit": 1000}', headers=headers).status == 422
    assert api.put(path, raw=b'{"credit": -100}', headers=headers).status == 422


def test_a_number_of_fifty_million_digits_is_not_written_out(api, customer):
    raw = b'{"credit": [%b]}' % b", ".join([b"1e50000000"] * 10)
    tracemalloc.start()
    answer = api.put(f"/v1/customer/{customer}/credit", raw=raw, headers={"Idempotency-Key": "amplified"})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (answer.status, answer.error) == (400, "credit: must be a number")
    assert peak < 10_000_000
