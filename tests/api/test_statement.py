"""The statement, the change log and the balance of a customer, as an integrator reads them."""

from __future__ import annotations

import csv
import io
import tracemalloc
import uuid
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from urllib.parse import quote

import pytest
from sqlalchemy.engine import make_url

from service import clock
from service.access.keys import create_client
from service.api.listing import CHUNK, cell
from service.api.schemas.event import BalanceSchema, ChangeSchema, EventSchema
from service.app import create_app
from service.clock import rfc3339
from service.db.transaction import transaction
from service.errors import Unavailable
from service.ledger.append import append, append_one, append_within
from service.ledger.command import Caller, Why, add_credit, hold, release, set_credit, set_status
from service.ledger.event import Status
from tests.support.client import add_customer, api_client
from tests.support.ledger import apply_everything, events, rows

TICK = timedelta(microseconds=1)
AS_CSV = {"Accept": "text/csv"}
READ_FROM = ("event", "log", "balance")


@pytest.fixture
def caller(client_id):
    return Caller(client_id, "key:7", "request-1", "key-of-the-caller")


@pytest.fixture
def set_to(engine, caller, customer):
    def make(*amounts) -> None:
        append(engine, [set_credit(caller, f"id:{customer}", Decimal(amount)) for amount in amounts])
        apply_everything(engine)

    return make


def url(customer, what="event", **query):
    return f"/v1/customer/{customer}/{what}?" + "&".join(f"{k}={quote(str(v))}" for k, v in query.items())


def seqs(answer):
    return [row["seq"] for row in answer.json["data"]]


def parsed(answer):
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.body.decode(), newline="")))


class TestRows:
    def test_an_event_is_shown_with_all_that_it_says_and_every_number_exact(self, api, engine, caller, customer):
        ref = f"id:{customer}"
        append_one(engine, set_credit(caller, ref, Decimal("0.3"), Why("nạp tiền", "VCB-1")))
        ends = clock.now() + timedelta(hours=1)
        put_aside = append_one(engine, hold(caller, ref, Decimal("0.1"), ends))
        append_one(engine, release(caller, (customer, put_aside.seq)))
        released, held, credit, created = api.get(url(customer)).json["data"]
        assert list(credit) == list(EventSchema().fields)
        assert credit == {
            "event_id": f"evt_{customer}_2", "customer_id": customer, "seq": 2, "kind": "credit.set",
            "amount": Decimal("0.3"), "delta": Decimal("0.3"), "balance_before": 0, "balance_after": Decimal("0.3"),
            "held": 0, "creditlimit": None, "status": 1, "reason": "nạp tiền", "reference": "VCB-1",
            "refers_to": None, "detail": None, "actor": "key:7", "request_id": "request-1",
            "idempotency_key": "key-of-the-caller",
            "recorded_at": rfc3339(events(engine, customer)[1].recorded_at),
        }  # fmt: skip
        assert (held["held"], held["detail"]) == (Decimal("0.1"), {"expires_at": rfc3339(ends)})
        assert (released["refers_to"], released["held"]) == (held["event_id"], 0)
        assert created["kind"] == "customer.created"

    def test_money_inside_a_detail_is_exact_as_well(self, api, new_customer):
        customer = new_customer(creditlimit=Decimal("1234567890.12345"))
        body = api.get(url(customer)).body
        assert b'"creditlimit":1234567890.12345' in body

    def test_a_change_says_from_what_to_what_who_why_and_when(self, api, engine, caller, customer):
        append_one(engine, set_credit(caller, f"id:{customer}", Decimal("2.5"), Why("trả trước", "VCB-2")))
        append_one(engine, set_status(caller, f"id:{customer}", Status.SUSPENDED))
        assert seqs(api.get(url(customer, "log"))) == []  # accepted, and not applied yet
        apply_everything(engine)
        status, credit, _ = api.get(url(customer, "log")).json["data"]
        assert list(credit) == list(ChangeSchema().fields)
        assert (credit["credit_before"], credit["credit_after"]) == (0, Decimal("2.5"))
        assert (credit["actor"], credit["reason"], credit["reference"]) == ("key:7", "trả trước", "VCB-2")
        assert (credit["event_id"], credit["seq"], credit["kind"]) == (f"evt_{customer}_2", 2, "credit.set")
        assert credit["recorded_at"] <= credit["applied_at"]
        assert (status["status_before"], status["status_after"], status["credit_before"]) == (1, 6, Decimal("2.5"))

    def test_a_balance_has_an_etag_now_and_none_at_a_moment(self, api, engine, caller, new_customer):
        customer = new_customer(credit=10, creditlimit=5, credit_notification=Decimal("1.5"))
        append_one(engine, hold(caller, f"id:{customer}", Decimal(4), clock.now() + timedelta(hours=1)))
        now = api.get(url(customer, "balance"))
        assert list(now.json) == list(BalanceSchema().fields)
        assert now.json | {"at": ""} == {
            "id": str(customer), "credit": 10, "held": 4, "creditlimit": 5, "available": 11,
            "credit_notification": Decimal("1.5"), "status": 1, "seq": 2, "at": "",
        }  # fmt: skip
        assert now.headers["ETag"] == '"2"'
        began = events(engine, customer)[0].recorded_at
        then = api.get(url(customer, "balance", at=rfc3339(began)))
        assert then.json == {
            "id": str(customer), "credit": 10, "held": 0, "creditlimit": 5, "available": 15, "status": 1, "seq": 1,
            "at": rfc3339(began),
        }  # fmt: skip
        assert "ETag" not in then.headers
        before = api.get(url(customer, "balance", at=rfc3339(began - TICK)))
        assert (before.status, before.error) == (404, "the customer did not exist at that time")

    def test_what_was_written_is_read_at_once_without_any_worker(self, api, customer):
        api.put(f"/v1/customer/{customer}/credit", {"credit": 7})
        assert api.get(url(customer, "balance")).json["credit"] == 7
        assert seqs(api.get(url(customer))) == [2, 1]


class TestPages:
    def test_newest_first_unless_asked_and_ten_of_them(self, api, customer, set_to):
        set_to(*range(14))
        for what in ("event", "log"):
            assert seqs(api.get(url(customer, what))) == list(range(15, 5, -1))
            assert seqs(api.get(url(customer, what, order="desc", limit=2))) == [15, 14]
            assert seqs(api.get(url(customer, what, order="asc", limit=3))) == [1, 2, 3]
            assert api.get(url(customer, what, limit=15)).json["next"] is None

    @pytest.mark.parametrize("what", ["event", "log"])
    @pytest.mark.parametrize("order", ["asc", "desc"])
    def test_writes_between_the_pages_make_nothing_come_twice_or_be_left_out(self, api, customer, set_to, what, order):
        set_to(*range(9))
        there = set(range(1, 11))
        seen, query = [], {}
        while True:
            answer = api.get(url(customer, what, order=order, limit=3, **query))
            seen += seqs(answer)
            if answer.json["next"] is None:
                break
            query = {"after": answer.json["next"]}
            if len(seen) < 10:
                set_to(100 + len(seen), 200 + len(seen))
        assert len(seen) == len(set(seen))
        assert there <= set(seen)
        assert seen == sorted(seen, reverse=order == "desc")

    def test_a_text_that_is_no_cursor_of_this_list_is_refused(self, api, customer, set_to):
        set_to(1, 2, 3)
        good = api.get(url(customer, limit=1)).json["next"]
        foreign = api.get(url(customer, "log", limit=1)).json["next"]
        feeds = api.get("/v1/event?limit=1").json["next"]
        for bad in ("", "x", "%", good + "=", good + "A", good[:-1], foreign, feeds, "ă", "a" * 999):
            answer = api.get(url(customer, after=bad))
            assert (answer.status, answer.error) == (400, "after: not a cursor of this list"), bad

    def test_a_kind_or_an_order_that_is_none_is_refused(self, api, customer):
        assert api.get(url(customer, kind="credit")).error.startswith("kind: must be one of customer.created, ")
        assert api.get(url(customer, order="up")).error == "order: must be asc or desc"
        assert api.get(url(customer, limit=0)).error == "limit: must be a whole number from 1 to 1000"
        assert api.get(url(customer, limit=1001)).error == "limit: must be a whole number from 1 to 1000"
        assert api.get(url(customer, start_date="today")).error.startswith("start_date: not a date and time")
        assert api.get(url(customer, "balance", at="today")).error.startswith("at: not a date and time")


class TestFilters:
    def test_only_a_kind(self, api, engine, caller, customer, set_to):
        set_to(1, 2)
        append_one(engine, set_status(caller, f"id:{customer}", Status.EXPIRED))
        apply_everything(engine)
        for what in ("event", "log"):
            assert seqs(api.get(url(customer, what, kind="status.set"))) == [4]
            assert seqs(api.get(url(customer, what, kind="credit.set", order="asc"))) == [2, 3]
            assert seqs(api.get(url(customer, what, kind="hold.created"))) == []

    @pytest.mark.parametrize("what", ["event", "log"])
    def test_dates_are_inclusive_to_the_microsecond_and_swapped_where_need_be(
        self, api, engine, customer, set_to, what
    ):
        for amount in range(4):
            set_to(amount)
        moments = [each.recorded_at for each in events(engine, customer)]

        def between(start, end):
            return seqs(api.get(url(customer, what, order="asc", start_date=rfc3339(start), end_date=rfc3339(end))))

        assert between(moments[1], moments[3]) == [2, 3, 4] == between(moments[3], moments[1])
        assert between(moments[1] + TICK, moments[3] - TICK) == [3]
        assert between(moments[2], moments[2]) == [3]
        assert between(moments[0] - TICK, moments[0] - TICK) == []
        assert seqs(api.get(url(customer, what, start_date=rfc3339(moments[4])))) == [5]
        assert seqs(api.get(url(customer, what, end_date=rfc3339(moments[0])))) == [1]

    def test_pages_stay_within_the_dates(self, api, engine, customer, set_to):
        for amount in range(6):
            set_to(amount)
        moments = [each.recorded_at for each in events(engine, customer)]
        dates = {"start_date": rfc3339(moments[1]), "end_date": rfc3339(moments[4])}
        first = api.get(url(customer, limit=2, **dates))
        second = api.get(url(customer, limit=2, after=first.json["next"], **dates))
        assert (seqs(first), seqs(second), second.json["next"]) == ([5, 4], [3, 2], None)


class TestForeigners:
    @pytest.mark.parametrize("what", READ_FROM)
    def test_whoever_is_of_another_client_finds_no_such_customer(self, api, foreign_api, new_customer, what):
        customer = new_customer(username=f"tenant {what}", caller_ids=[f"+84 {what}"])
        for ref in (str(customer), f"id:{customer}", f"tenant {what}", f"caller_id:+84 {what}"):
            for headers in ({}, AS_CSV):
                answer = foreign_api.get(url(quote(ref), what), headers=headers)
                assert (answer.status, answer.error) == (404, "customer not found")
                assert api.get(url(quote(ref), what), headers=headers).status == 200

    def test_a_moment_tells_a_foreigner_nothing_either(self, foreign_api, customer):
        answer = foreign_api.get(url(customer, "balance", at="2020-01-01 00:00:00"))
        assert (answer.status, answer.error) == (404, "customer not found")

    def test_two_that_are_meant_by_one_text_are_a_conflict(self, api, new_customer):
        new_customer(username="0912000555")
        new_customer(caller_ids=["0912000555"])
        for what in READ_FROM:
            assert api.get(url("0912000555", what)).status == 409


class TestWhichForm:
    @pytest.mark.parametrize(
        ("accept", "kind"),
        [
            ("", "application/json"),
            ("*/*", "application/json"),
            ("text/html", "application/json"),
            ("text/csv", "text/csv"),
            ("TEXT/CSV", "text/csv"),
            ("text/*", "text/csv"),
            ("text/csv; charset=utf-8", "text/csv"),
            ("text/csv, */*;q=0.1", "text/csv"),
            ("text/csv, application/json", "application/json"),
            ("text/csv;q=0.5, application/json;q=0.9", "application/json"),
            ("text/csv;q=0.9, application/json;q=0.5", "text/csv"),
            ("text/csv;q=0, */*", "application/json"),
            ("application/json;q=0, */*", "text/csv"),
            ("text/*, text/csv;q=0.1, application/json;q=0.5", "application/json"),
            ("nonsense", "application/json"),
        ],
    )
    def test_the_caller_says_by_accept(self, api, customer, accept, kind):
        for what in ("event", "log"):
            answer = api.get(url(customer, what), headers={"Accept": accept})
            assert answer.headers["Content-Type"].split(";")[0] == kind
            assert answer.headers["Vary"] == "Accept"


class TestCsv:
    def test_it_has_the_rows_of_the_pages_as_columns(self, api, engine, caller, customer):
        ref = f"id:{customer}"
        append_one(engine, set_credit(caller, ref, Decimal("12.50")))
        append_one(engine, add_credit(caller, ref, Decimal("-0.00001")))
        append_one(engine, hold(caller, ref, Decimal(3), clock.now() + timedelta(hours=1)))
        apply_everything(engine)
        for what, schema in (("event", EventSchema), ("log", ChangeSchema)):
            answer = api.get(url(customer, what), headers=AS_CSV)
            read, shown = parsed(answer), api.get(url(customer, what)).json["data"]
            assert answer.body.decode().split("\r\n")[0] == ",".join(schema().fields)
            assert read == [{name: cell(value) for name, value in row.items()} for row in shown]
        assert [row["credit_after"] for row in read] == ["12.49999", "12.49999", "12.5", "0"]
        name = api.get(url(customer), headers=AS_CSV).headers["Content-Disposition"]
        assert name == f'attachment; filename="statement-{customer}.csv"'

    def test_texts_survive_as_they_were(self, api, engine, caller, customer):
        reasons = [
            "nạp tiền điện thoại, tháng 5",
            'khách nói "gấp"',
            "hai\ndòng",
            "a,b;c\t'd'",
            "  trước và sau  ",
            "ÿ€漢😀",
        ]
        append(engine, [set_credit(caller, f"id:{customer}", Decimal(1), Why(reason)) for reason in reasons])
        read = parsed(api.get(url(customer, order="asc"), headers=AS_CSV))
        assert [row["reason"] for row in read[1:]] == reasons

    def test_no_text_is_taken_for_a_formula_and_no_number_for_a_text(self, api, engine, caller, customer):
        dangerous = ["=1+1", "+84912", "-1", "@SUM(A1)", "\tx", "\nx", "＝1"]
        harmless = ["1=1", "a-b", "'quoted'", ""]
        whys = [Why(text, f"{text}{uuid.uuid4()}") for text in dangerous + harmless]
        append(engine, [set_credit(caller, f"id:{customer}", Decimal(-5), why) for why in whys])
        read = parsed(api.get(url(customer, order="asc"), headers=AS_CSV))[1:]
        assert [row["reason"] for row in read] == [f"'{text}" for text in dangerous] + harmless
        assert [row["reference"][0] for row in read[: len(dangerous)]] == ["'"] * len(dangerous)
        assert {row["balance_after"] for row in read} == {"-5"}

    def test_filters_order_and_limit_hold_for_it_too(self, api, customer, set_to):
        set_to(*range(30))
        assert len(parsed(api.get(url(customer), headers=AS_CSV))) == 31
        assert [row["seq"] for row in parsed(api.get(url(customer, limit=2), headers=AS_CSV))] == ["31", "30"]
        oldest = parsed(api.get(url(customer, order="asc", kind="credit.set"), headers=AS_CSV))
        assert [row["seq"] for row in oldest] == [str(n) for n in range(2, 32)]
        after = api.get(url(customer, limit=29)).json["next"]
        assert [row["seq"] for row in parsed(api.get(url(customer, after=after), headers=AS_CSV))] == ["2", "1"]

    def test_nothing_to_show_is_a_header_alone(self, api, customer):
        answer = api.get(url(customer, kind="hold.created"), headers=AS_CSV)
        assert (answer.status, parsed(answer)) == (200, [])
        assert answer.body.decode().startswith("event_id,customer_id,")

    def test_a_bad_query_is_answered_in_json_as_ever(self, api, customer):
        assert api.get(url(customer, order="up"), headers=AS_CSV).error == "order: must be asc or desc"

    def test_it_ends_where_the_stream_ended_as_it_was_asked_for(self, app, api, engine, caller, customer):
        self.grow(engine, caller, customer, 2 * CHUNK)
        chunks = self.streamed(app, api, url(customer, order="asc"))
        first = next(chunks)
        self.grow(engine, caller, customer, 10)
        body = first + b"".join(chunks)
        assert body.count(b"\r\n") == 1 + 1 + 2 * CHUNK

    def test_a_database_that_goes_away_breaks_it_off_and_never_shortens_it(self, config, own_database, own_engine):
        client = create_client(own_engine, "cut off")
        customer = add_customer(own_engine, client)
        self.grow(own_engine, Caller(client, "key:1"), customer, 2 * CHUNK)
        app = create_app(replace(config, database_url=make_url(own_database)))
        chunks = self.streamed(app, api_client(app, own_engine, client), url(customer))
        next(chunks)
        own_engine.dispose()
        others = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name AND pid <> pg_backend_pid()"
        )
        rows(own_engine, others, name=make_url(own_database).database)
        with pytest.raises(Unavailable):
            list(chunks)

    def test_thirty_thousand_events_take_no_more_memory_than_three_thousand(
        self, app, api, engine, caller, new_customer
    ):
        few, many = new_customer(), new_customer()
        self.grow(engine, caller, few, 3_000)
        self.grow(engine, caller, many, 30_000)
        self.exported(app, api, few)  # whatever is made once is made
        assert self.exported(app, api, few)[0] == 3_000
        (lines, peak), (_, usual) = self.exported(app, api, many), self.exported(app, api, few)
        assert lines == 30_000
        assert peak < usual * 1.25 < 12_000_000, (peak, usual)

    def exported(self, app, api, customer):
        """How many changes an export holds, and how much memory it took at most, in bytes."""
        tracemalloc.start()
        try:
            lines = sum(chunk.count(b"\r\n") for chunk in self.streamed(app, api, url(customer, kind="credit.added")))
            return lines - 1, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    def grow(self, engine, caller, customer, number):
        done = 0
        while done < number:
            some = min(1000, number - done)
            with transaction(engine) as tx:
                append_within(
                    tx,
                    [
                        add_credit(caller, f"id:{customer}", Decimal(1), Why("tiền nạp, theo tháng " * 3))
                        for _ in range(some)
                    ],
                )
            done += some

    def streamed(self, app, api, path):
        response = app.test_client().get(path, headers={**api.headers, **AS_CSV})
        assert response.status_code == 200
        yield from response.iter_encoded()
