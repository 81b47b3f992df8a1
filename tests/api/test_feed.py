"""The feed: whoever follows it by its cursors sees each event once, whatever writers do."""

from __future__ import annotations

import csv
import io
import random
import threading
import time
import uuid
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from urllib.parse import quote

import pytest
from marshmallow import ValidationError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from service import clock
from service.api.cursor import Cursor, write_cursor
from service.api.schemas.event import FEED_CURSOR, EventSchema, FeedEventSchema
from service.db.transaction import transaction
from service.errors import Unavailable
from service.ledger import feed as feed_module
from service.ledger.append import append, append_one, append_within
from service.ledger.command import Caller, Why, add_credit, hold, set_credit, set_status
from service.ledger.event import Status
from tests.support.ledger import rows
from tests.support.processes import until

AS_CSV = {"Accept": "text/csv"}


@pytest.fixture
def caller(client_id):
    return Caller(client_id, "key:7")


def fetch(api, after=None, **query):
    if after is not None:
        query["after"] = after
    answer = api.get("/v1/event?" + "&".join(f"{name}={quote(str(value))}" for name, value in query.items()))
    assert answer.status == 200, answer.body
    return answer.json


def settled(engine, client_id):
    """Wait until nothing holds back what this client has written: other tests write to the same server."""
    newest = "SELECT coalesce(max(position), 0) < feed_horizon() FROM ledger_event WHERE client_id = :c"
    until(lambda: rows(engine, newest, c=client_id)[0][0], what="the feed's horizon")


def place(row):
    return row["customer_id"], row["seq"]


def written(engine, client_id):
    return [tuple(row) for row in rows(
        engine, "SELECT customer_id, seq FROM ledger_event WHERE client_id = :c ORDER BY 1, 2", c=client_id
    )]  # fmt: skip


class Writer:
    """Appends to random customers in transactions that last, and that end well, are given up, or are killed."""

    def __init__(self, engine, caller, customers, seed):
        self.engine, self.caller, self.customers, self.dice = engine, caller, customers, random.Random(seed)
        self.ends = {"committed": 0, "given up": 0, "killed": 0}

    def write(self, times):
        for _ in range(times):
            end = self.dice.choices(list(self.ends), weights=[6, 1, 1])[0]
            try:
                self.transaction(end)
            except (DBAPIError, Unavailable):
                end = "killed"
            except GivenUp:
                pass
            self.ends[end] += 1

    def transaction(self, end):
        with transaction(self.engine) as tx:
            if self.dice.random() < 0.4:  # a number long before the first write, so that others overtake it
                tx.execute(text("SELECT pg_current_xact_id()"))
                self.pause()
            for _ in range(self.dice.randint(1, 2)):
                some = self.dice.sample(self.customers, self.dice.randint(1, 2))
                append_within(tx, [add_credit(self.caller, f"id:{customer}", Decimal(1)) for customer in some])
                self.pause()
            if end == "given up":
                raise GivenUp
            if end == "killed":
                tx.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    def pause(self):
        time.sleep(self.dice.random() ** 3 * 0.06)


class GivenUp(Exception):
    pass


def test_it_never_skips_an_event_of_writers_that_commit_out_of_order_or_are_killed(api, engine, caller, new_customer):
    customers = [new_customer() for _ in range(25)]
    writers = [Writer(engine, caller, customers, seed) for seed in range(8)]
    done = threading.Event()
    seen = []

    def follow():
        after, finished = None, False
        while not finished:
            finished = done.is_set()
            while True:
                page = fetch(api, after, limit=7)
                seen.extend(map(place, page["data"]))
                after = page["data"][-1]["cursor"] if page["data"] else after
                if page["next"] is None:
                    break
            time.sleep(0.001)

    with ThreadPoolExecutor(len(writers) + 1) as pool:
        reader = pool.submit(follow)
        list(pool.map(lambda writer: writer.write(40), writers))
        settled(engine, caller.client_id)
        done.set()
        reader.result()
    ends = {end: sum(writer.ends[end] for writer in writers) for end in writers[0].ends}
    assert ends["committed"] > 150, ends
    assert min(ends.values()) > 10, ends
    assert len(seen) == len(set(seen))
    assert sorted(seen) == written(engine, caller.client_id)
    for customer in customers:
        own = [seq for who, seq in seen if who == customer]
        assert own == list(range(1, len(own) + 1))


def test_what_is_committed_later_but_began_earlier_is_waited_for(api, engine, caller, new_customer):
    early, late = new_customer(), new_customer()
    settled(engine, caller.client_id)
    with transaction(engine) as tx:
        append_within(tx, [set_credit(caller, f"id:{early}", Decimal(1))])
        append_one(engine, set_credit(caller, f"id:{late}", Decimal(2)))
        assert [place(row) for row in fetch(api)["data"]] == [(early, 1), (late, 1)]
    settled(engine, caller.client_id)
    assert [place(row) for row in fetch(api)["data"]] == [(early, 1), (late, 1), (early, 2), (late, 2)]


def test_the_rows_are_the_statements_and_their_cursors(api, engine, caller, customer):
    append_one(engine, set_credit(caller, f"id:{customer}", Decimal("0.3"), Why("nạp tiền", "VCB-3")))
    append_one(engine, hold(caller, f"id:{customer}", Decimal("0.1"), clock.now() + timedelta(hours=1)))
    settled(engine, caller.client_id)
    feed = fetch(api)["data"]
    statement = api.get(f"/v1/customer/{customer}/event?order=asc").json["data"]
    assert list(feed[0]) == list(FeedEventSchema().fields)
    assert [{name: row[name] for name in EventSchema().fields} for row in feed] == statement
    assert [api.get(f"/v1/event/{row['event_id']}").json for row in feed] == statement


def test_whoever_reached_the_end_goes_on_from_the_last_row(api, engine, caller, customer):
    append(engine, [set_credit(caller, f"id:{customer}", Decimal(n)) for n in range(3)])
    settled(engine, caller.client_id)
    first = fetch(api, limit=3)
    assert first["next"] == first["data"][-1]["cursor"]
    second = fetch(api, first["next"], limit=3)
    assert (len(second["data"]), second["next"]) == (1, None)
    end = second["data"][-1]["cursor"]
    assert fetch(api, end) == {"data": [], "next": None}
    append_one(engine, set_credit(caller, f"id:{customer}", Decimal(9)))
    settled(engine, caller.client_id)
    assert [place(row) for row in fetch(api, end)["data"]] == [(customer, 5)]


def test_ten_rows_unless_asked(api, engine, caller, customer):
    append(engine, [set_credit(caller, f"id:{customer}", Decimal(n)) for n in range(11)])
    settled(engine, caller.client_id)
    assert len(fetch(api)["data"]) == 10
    assert len(fetch(api, limit=12)["data"]) == 12


def test_a_text_that_is_no_cursor_of_the_feed_is_refused(api, customer):
    of_another_list = api.get(f"/v1/customer/{customer}/event?limit=1").json
    assert of_another_list["next"] is None
    for bad in (
        "",
        "x",
        "0",
        write_cursor("statement", 1),
        write_cursor("feed", 1, 2),
        write_cursor("feed", 1, 2, 2**63),
    ):
        answer = api.get(f"/v1/event?after={quote(bad)}")
        assert (answer.status, answer.error) == (400, "after: not a cursor of this list"), bad


@pytest.mark.parametrize(
    "spelling", ["feed:1:2:03", "feed:1:2:+3", "feed:1:2: 3", "feed:1:2:3_0", "feed:1:2:٣", "feed:-1:2:3"]
)
def test_a_cursor_is_written_in_one_way_only(spelling):
    field = Cursor(FEED_CURSOR, 3)
    with pytest.raises(ValidationError, match="not a cursor of this list"):
        field.deserialize(urlsafe_b64encode(spelling.encode()).decode().rstrip("="))
    assert field.deserialize(write_cursor(FEED_CURSOR, 1, 2, 3)) == (1, 2, 3)


class TestFilters:
    @pytest.fixture
    def mixed(self, engine, caller, new_customer):
        """Two customers with changes of two kinds in turn."""
        one, other = new_customer(username=f"one{uuid.uuid4().hex[:8]}"), new_customer()
        for n in range(12):
            append_one(engine, set_credit(caller, f"id:{one}", Decimal(n)))
            append_one(engine, set_credit(caller, f"id:{other}", Decimal(n)))
        append_one(engine, set_status(caller, f"id:{one}", Status.EXPIRED))
        settled(engine, caller.client_id)
        return one, other

    def walked(self, api, **query):
        """The rows of all pages, and how many pages they came on."""
        found, pages, after = [], 0, None
        while True:
            page = fetch(api, after, **query)
            found, pages, after = found + page["data"], pages + 1, page["next"]
            if after is None:
                return found, pages

    def test_only_a_kind_or_a_customer(self, api, mixed):
        one, other = mixed
        assert [place(row) for row in self.walked(api, kind="status.set", limit=5)[0]] == [(one, 14)]
        assert [place(row) for row in self.walked(api, customer=other, limit=5)[0]] == [
            (other, n) for n in range(1, 14)
        ]
        both, _ = self.walked(api, customer=f"id:{one}", kind="credit.set", limit=5)
        assert [place(row) for row in both] == [(one, n) for n in range(2, 14)]

    @pytest.mark.parametrize("look", [1, 3, 4, 26, 27, 28])
    def test_a_page_looks_at_so_many_events_and_says_where_to_go_on(self, api, mixed, monkeypatch, look):
        one, _ = mixed
        monkeypatch.setattr(feed_module, "LOOK", look)
        found, pages = self.walked(api, kind="status.set", limit=5)
        assert [place(row) for row in found] == [(one, 14)]
        assert pages >= 27 // look
        found, _ = self.walked(api, customer=one, limit=2)
        assert [place(row) for row in found] == [(one, n) for n in range(1, 15)]
        export = api.get("/v1/event?kind=credit.set&limit=9", headers=AS_CSV).body
        assert export.count(b"\r\n") == 10

    def test_an_unknown_or_foreign_customer_is_not_found(self, api, foreign_api, mixed):
        for client, ref in ((api, "nobody"), (foreign_api, mixed[0]), (foreign_api, f"id:{mixed[1]}")):
            answer = client.get(f"/v1/event?customer={ref}")
            assert (answer.status, answer.error) == (404, "customer not found")

    def test_a_kind_that_is_none_is_refused(self, api):
        assert api.get("/v1/event?kind=x").error.startswith("kind: must be one of ")


class TestForeigners:
    def test_nobody_sees_another_clients_events(self, api, foreign_api, engine, customer):
        settled(engine, api.client_id)
        seen = fetch(api)["data"]
        assert [place(row) for row in seen] == [(customer, 1)]
        assert fetch(foreign_api)["data"] == []
        assert foreign_api.get("/v1/event", headers=AS_CSV).body.count(b"\r\n") == 1
        answer = foreign_api.get(f"/v1/event/{seen[0]['event_id']}")
        assert (answer.status, answer.error) == (404, "event not found")

    def test_a_cursor_of_another_client_shows_nothing_of_that_client(self, api, foreign_api, engine, customer):
        settled(engine, api.client_id)
        cursor = fetch(api)["data"][-1]["cursor"]
        assert fetch(foreign_api, cursor)["data"] == []

    @pytest.mark.parametrize(
        "unknown", ["x", "evt_1", "evt_0_1", "hold_1_1", "evt_1_99999999999999999999", "evt_1_1%20", "٣"]
    )
    def test_what_is_no_events_id_is_not_found(self, api, unknown):
        answer = api.get(f"/v1/event/{quote(unknown, safe='%')}")
        assert (answer.status, answer.error) == (404, "event not found")


class TestCsv:
    def test_it_has_all_there_is_up_to_now_in_the_feeds_order(self, api, engine, caller, new_customer):
        customers = [new_customer() for _ in range(3)]
        for n in range(9):
            append(engine, [set_credit(caller, f"id:{customer}", Decimal(n), Why("=x, y")) for customer in customers])
        settled(engine, caller.client_id)
        answer = api.get("/v1/event", headers=AS_CSV)
        assert answer.headers["Content-Disposition"] == 'attachment; filename="events.csv"'
        assert (answer.headers["Content-Type"], answer.headers["Vary"]) == ("text/csv; charset=utf-8", "Accept")
        read = list(csv.DictReader(io.StringIO(answer.body.decode(), newline="")))
        assert list(read[0]) == list(FeedEventSchema().fields)
        assert [row["cursor"] for row in read] == [row["cursor"] for row in fetch(api, limit=100)["data"]]
        assert read[-1]["reason"] == "'=x, y"
        rest = api.get(f"/v1/event?limit=2&after={read[-4]['cursor']}", headers=AS_CSV).body.decode()
        assert [row["event_id"] for row in csv.DictReader(io.StringIO(rest))] == [r["event_id"] for r in read[-3:-1]]

    def test_it_ends_where_the_feed_ended_as_it_was_asked_for(self, app, api, engine, caller, customer):
        for _ in range(2):
            append(engine, [add_credit(caller, f"id:{customer}", Decimal(1)) for _ in range(1000)])
        settled(engine, caller.client_id)
        response = app.test_client().get("/v1/event", headers={**api.headers, **AS_CSV})
        chunks = response.iter_encoded()
        body = next(chunks)
        append(engine, [add_credit(caller, f"id:{customer}", Decimal(1)) for _ in range(10)])
        settled(engine, caller.client_id)
        body += b"".join(chunks)
        assert body.count(b"\r\n") == 1 + 2001
