"""Call logs narrowed down, paged by a cursor, added up, and as CSV."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from decimal import Decimal
from urllib.parse import quote

import pytest

from service import clock
from tests.support.client import add_call

DAYS = "start_date=2021-06-01%2000:00:00&end_date=2021-06-30%2023:59:59"
CALLS = [  # uniqueid, day and time, source, destination, seconds, amount, disposition
    ("1", "01 08:00:00", "0281", "8490111", 60, 10, "ANSWERED"),
    ("2", "01 23:30:00", "0281", "8491222", 0, 0, "BUSY"),
    ("3", "02 00:30:00", "0282", "8490111", 30, 5, "ANSWERED"),
    ("4", "15 12:00:00", "0900", "8490_33", 90, 7, "ANSWERED"),
    ("5", "15 12:00:00", "0281", "113", 5, "0.25", None),
]


@pytest.fixture(autouse=True)
def calls(api, new_customer):
    """Five calls: four of one customer, who has two caller ids, and one of nobody."""
    customer = new_customer(username="alice", credit=Decimal(100), caller_ids=["0281", "0282"])
    body = [
        {"uniqueid": uid, "start_time": f"2021-06-{when}", "source": source, "destination": destination,
         "duration": seconds, "amount": float(amount), "disposition": disposition or ""}
        for uid, when, source, destination, seconds, amount, disposition in CALLS
    ]  # fmt: skip
    assert api.post("/v1/call/log", body).json["failed"] == 0
    return customer


def log(api, query=""):
    answer = api.get(f"/v1/call/log?{DAYS}&{query}")
    assert answer.status == 200, answer.body
    return answer.json


def ids(found):
    return "".join(call["uniqueid"] for call in found["data"])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", "54321"),
        ("source=0281", "521"),
        ("customer=alice", "5321"),
        ("customer=caller_id:0282", "5321"),
        ("destination=849", "4321"),
        ("destination=8490_", "4"),
        ("destination=%25", ""),
        ("disposition=ANSWERED", "431"),
        ("min_duration=30", "431"),
        ("min_duration=30&customer=alice&destination=8490", "31"),
        ("unmatched=true", "4"),
        ("unmatched=false", "54321"),
    ],
)
def test_a_list_is_narrowed_down_and_its_total_with_it(api, query, found):
    answer = log(api, query)
    assert (ids(answer), answer["total"]) == (found, len(found))


@pytest.mark.parametrize(
    ("query", "status", "error"),
    [
        ("customer=nobody", 404, "customer not found"),
        ("min_duration=x", 400, "min_duration: must be a whole number from 0 to 2678400"),
        ("unmatched=yes", 400, "unmatched: must be true or false"),
        ("after=nonsense", 400, "after: not a cursor of this list"),
        ("group_by=day", 400, "group_by: unknown field"),
    ],
)
def test_what_makes_no_sense_is_refused(api, query, status, error):
    answer = api.get(f"/v1/call/log?{DAYS}&{query}")
    assert (answer.status, answer.error) == (status, error)


def test_a_customer_of_another_client_is_not_there(api, foreign_api, calls):
    assert foreign_api.get(f"/v1/call/log?customer={calls}").status == 404
    assert foreign_api.get(f"/v1/call/summary?customer={calls}").status == 404


def test_pages_by_cursor_stay_where_they_are_while_calls_come_in(api):
    first = log(api, "limit=2&after=")
    assert (ids(first), first["total"], "offset" in first) == ("54", 5, False)
    newer = {"uniqueid": "9", "start_time": "2021-06-20 00:00:00", "source": "0281", "destination": "1", "duration": 1,
             "amount": 1}  # fmt: skip
    assert api.post("/v1/call/log", newer).status == 200
    second = log(api, f"limit=2&after={first['next']}")
    third = log(api, f"limit=2&after={second['next']}")
    assert (ids(second), ids(third), third["next"], third["total"]) == ("32", "1", None, 6)


def test_a_page_by_offset_has_the_references_keys_and_no_others(api):
    assert list(log(api, "limit=2")) == ["data", "limit", "offset", "total"]


@pytest.mark.parametrize("query", ["", "after=", "offset=1"])
@pytest.mark.parametrize("accept", ["application/json", "text/csv"])
def test_every_page_says_that_it_depends_on_what_is_accepted(api, query, accept):
    answer = api.get(f"/v1/call/log?{DAYS}&{query}", headers={"Accept": accept})
    assert (answer.status, answer.headers["Vary"]) == (200, "Accept")


def test_as_csv_it_is_everything_with_more_columns(api, calls):
    answer = api.get(f"/v1/call/log?{DAYS}", headers={"Accept": "text/csv"})
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert [row["uniqueid"] for row in rows] == list("54321")
    assert rows[-1] == {
        "id": rows[-1]["id"], "uniqueid": "1", "leg": "0", "start_time": "2021-06-01T08:00:00Z",
        "end_time": "2021-06-01T08:01:00Z", "duration": "60", "source": "0281", "destination": "8490111",
        "disposition": "ANSWERED", "amount": "10", "customer_id": str(calls), "event_id": f"evt_{calls}_2",
    }  # fmt: skip
    assert (rows[1]["customer_id"], rows[1]["event_id"]) == ("", "")


class TestSummary:
    def summary(self, api, query):
        answer = api.get(f"/v1/call/summary?{DAYS}&{query}")
        assert answer.status == 200, answer.body
        return answer.json

    def test_days_come_in_their_order_and_all_is_added_up(self, api):
        found = self.summary(api, "group_by=day")
        assert found == {
            "data": [
                {"day": "2021-06-01", "calls": 2, "seconds": 60, "amount": 10},
                {"day": "2021-06-02", "calls": 1, "seconds": 30, "amount": 5},
                {"day": "2021-06-15", "calls": 2, "seconds": 95, "amount": Decimal("7.25")},
            ],
            "limit": 10, "offset": 0, "total": 3, "sum": {"calls": 5, "seconds": 185, "amount": Decimal("22.25")},
        }  # fmt: skip
        assert self.summary(api, "") == found

    @pytest.mark.parametrize(
        ("group_by", "groups"),
        [
            ("source", [("0281", "10.25"), ("0900", "7"), ("0282", "5")]),
            ("destination", [("8490111", "15"), ("8490_33", "7"), ("113", "0.25"), ("8491222", "0")]),
        ],
    )
    def test_other_groups_come_by_what_they_cost(self, api, group_by, groups):
        found = self.summary(api, f"group_by={group_by}")["data"]
        assert [(each[group_by], each["amount"]) for each in found] == [(key, Decimal(cost)) for key, cost in groups]

    def test_customers_are_named_by_id_and_nobody_is_null(self, api, calls):
        found = self.summary(api, "group_by=customer")["data"]
        assert [(each["customer"], each["calls"]) for each in found] == [(str(calls), 4), (None, 1)]

    def test_groups_are_paged_and_narrowed_down(self, api):
        found = self.summary(api, "group_by=source&limit=1&offset=1&destination=8490")
        assert [each["source"] for each in found["data"]] == ["0900"]
        assert (found["total"], found["sum"]["calls"]) == (3, 3)

    @pytest.mark.parametrize("group_by", ["day", "customer", "source", "destination"])
    @pytest.mark.parametrize("query", ["", "destination=849", "unmatched=true"])
    def test_pages_hold_every_group_once_and_each_says_what_all_come_to(self, api, group_by, query):
        whole = self.summary(api, f"{query}&group_by={group_by}&limit=100")
        pages = [self.summary(api, f"{query}&group_by={group_by}&limit=1&offset={n}") for n in range(whole["total"])]
        assert [group for page in pages for group in page["data"]] == whole["data"]
        beyond = self.summary(api, f"{query}&group_by={group_by}&offset=100")
        assert beyond["data"] == []
        for page in [*pages, beyond]:
            assert (page["total"], page["sum"]) == (len(whole["data"]), whole["sum"])
        for what in ("calls", "seconds", "amount"):
            assert sum(group[what] for group in whole["data"]) == whole["sum"][what]

    def test_without_dates_it_is_todays_also_of_those_that_are_unmatched(self, api, engine, client_id):
        for fields in ({"start_time": clock.now() - timedelta(days=2)}, {}, {}):
            add_call(engine, client_id, source="0900", **fields)
        assert api.get("/v1/call/log?unmatched=true").json["total"] == 4
        found = api.get("/v1/call/summary?unmatched=true&group_by=source").json
        assert found["data"] == [{"source": "0900", "calls": 2, "seconds": 0, "amount": 2}]

    def test_it_takes_the_same_period_as_the_log(self, api):
        answer = api.get(f"/v1/call/summary?start_date=2021-01-01%2000:00:00&end_date={quote('2021-03-01 00:00:00')}")
        assert (answer.status, answer.error) == (400, "date range must be in 31 days")
        wrong = api.get("/v1/call/summary?group_by=week")
        assert (wrong.status, wrong.error) == (
            400, "group_by: must be one of day, customer, source, destination",
        )  # fmt: skip

    def test_nothing_is_nothing(self, api, foreign_api):
        found = foreign_api.get(f"/v1/call/summary?{DAYS}").json
        assert (found["data"], found["total"], found["sum"]) == ([], 0, {"calls": 0, "seconds": 0, "amount": 0})
