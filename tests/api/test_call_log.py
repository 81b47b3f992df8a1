"""The call log: which calls belong to a period, in which order, and what a period is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
import time_machine
from sqlalchemy import event, insert, text

from service.api.cursor import write_cursor
from service.app import create_app
from service.calls.partitions import ensure_month, make_ahead
from service.calls.period import MAX_PERIOD, Period, period, read_moment
from service.calls.read import list_calls
from service.calls.wanted import Wanted
from service.db.transaction import transaction
from service.errors import Invalid
from service.models import CallRecord
from tests.support.client import api_client
from tests.support.ledger import rows

SAIGON = ZoneInfo("Asia/Ho_Chi_Minh")


def at(moment: str) -> datetime:
    return datetime.fromisoformat(moment).replace(tzinfo=UTC)


@pytest.fixture
def add_calls(engine, client_id):
    def add(*starts: str, **fields) -> None:
        with transaction(engine) as tx:
            for n, start in enumerate(starts):
                ensure_month(tx, at(start))
                tx.execute(
                    insert(CallRecord).values(
                        **{
                            "client_id": client_id, "start_time": at(start), "end_time": at(start), "duration": 0,
                            "amount": Decimal("0.5"), "uniqueid": f"{start}.{n}", "source": "0899",
                            "destination": "113",
                            **fields,
                        }
                    )
                )  # fmt: skip

    return add


def log(api, start: str, end: str, more: str = ""):
    query = f"start_date={start}&end_date={end}{more}".replace(" ", "%20").replace("+", "%2B")
    return api.get(f"/v1/call/log?{query}").json


def test_both_ends_are_inclusive(api, add_calls):
    add_calls("2022-02-01 10:00:00", "2022-02-01 10:00:01", "2022-02-01 10:00:02", "2022-02-01 10:00:03")
    found = log(api, "2022-02-01 10:00:01", "2022-02-01 10:00:02")
    assert [call["start_time"] for call in found["data"]] == ["2022-02-01T10:00:02Z", "2022-02-01T10:00:01Z"]
    assert found == log(api, "2022-02-01 10:00:02", "2022-02-01 10:00:01")


def test_calls_of_one_moment_are_ordered_by_id_and_pages_do_not_overlap(api, add_calls):
    for n in (3, 1, 5, 2, 7, 4, 6):  # not in the order in which they lie
        add_calls("2022-02-02 10:00:00", id=10**12 + n)
    pages = [log(api, "2022-02-02 00:00:00", "2022-02-03 00:00:00", f"&limit=3&offset={n}") for n in (0, 3, 6)]
    ids = [call["id"] for page in pages for call in page["data"]]
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == 7
    assert {page["total"] for page in pages} == {7}


def test_the_order_is_asked_for_and_not_left_to_the_index_that_happens_to_be_used(engine, client_id, add_calls):
    add_calls("2022-02-02 11:30:00", source="0700")
    asked: list[str] = []

    def listen(connection, cursor, statement, *_):
        asked.append(statement)

    event.listen(engine, "before_cursor_execute", listen)
    try:
        hour = Period(at("2022-02-02 11:00:00"), at("2022-02-02 12:00:00"))
        list_calls(engine, Wanted(client_id, hour, source="0700"), limit=10, offset=0)
    finally:
        event.remove(engine, "before_cursor_execute", listen)
    assert "ORDER BY call_record.start_time DESC, call_record.id DESC" in asked[-1]
    with transaction(engine) as tx:
        page = tx.scalar(text("SELECT pg_get_functiondef('call_page'::regproc)"))
    assert "ORDER BY c.start_time DESC, c.id DESC" in page


def test_a_period_may_span_months_and_years(api, add_calls):
    add_calls("2022-12-31 23:59:59", "2023-01-01 00:00:00")
    assert log(api, "2022-12-31 23:59:59", "2023-01-01 00:00:00")["total"] == 2


def test_source_narrows_to_one_number_exactly(api, add_calls):
    add_calls("2022-02-04 10:00:00", source="0899123456")
    add_calls("2022-02-04 10:00:00", source="08991234567")
    assert log(api, "2022-02-04 00:00:00", "2022-02-05 00:00:00", "&source=0899123456")["total"] == 1


def test_31_days_pass_and_a_second_more_does_not(api):
    assert log(api, "2022-03-01 00:00:00", "2022-04-01 00:00:00")["total"] == 0
    assert log(api, "2022-03-01 00:00:00", "2022-04-01 00:00:01") == {"error": "date range must be in 31 days"}
    assert log(api, "2022-04-01 00:00:01", "2022-03-01 00:00:00") == {"error": "date range must be in 31 days"}


@pytest.mark.parametrize(
    ("text_of_moment", "utc"),
    [
        ("2021-06-01 07:00:00", "2021-06-01 00:00:00"), ("2021-06-01T00:00:00Z", "2021-06-01 00:00:00"),
        ("2021-06-01T07:00:00+07:00", "2021-06-01 00:00:00"), ("2021-06-01T07:00:00 07:00", "2021-06-01 00:00:00"),
        ("2021-05-31t20:00:00-04:00", "2021-06-01 00:00:00"), ("2021-06-01 07:00:00.25", "2021-06-01 00:00:00.25"),
        ("2021-06-01T00:00:00.123456789z", "2021-06-01 00:00:00.123456"),
    ],
)  # fmt: skip
def test_moments_are_read_in_the_configured_zone_unless_they_name_their_own(text_of_moment, utc):
    assert read_moment(text_of_moment, SAIGON) == at(utc)


@pytest.mark.parametrize(
    "bad",
    ["", "x", "2021-06-01", "2021-06-01 00:00:00123", "2021-02-30 00:00:00", "2021-06-01 24:00:00", "2021-06-01 00:00",
     "1622505600",
     "2021-06-01T00:00:00+25:00", "0001-01-01T00:00:00+14:00", "٢٠٢١-06-01 00:00:00", "9999-12-31T23:59:59-14:00"],
)  # fmt: skip
def test_what_is_no_moment_is_refused(api, bad):
    answer = api.get(f"/v1/call/log?start_date={bad}".replace("+", "%2B"))
    assert answer.status == 400
    assert answer.error.startswith("start_date: ")


def test_31_days_are_31_days_on_the_wall_also_where_the_clocks_are_set_back():
    berlin = ZoneInfo("Europe/Berlin")
    start, end = read_moment("2021-10-15 00:00:00", berlin), read_moment("2021-11-15 00:00:00", berlin)
    assert period(start, end, start, berlin).end == end
    with pytest.raises(Invalid):
        period(start, end + timedelta(seconds=1), start, berlin)


BEYOND = "start_date, end_date: beyond the calendar"
ENDS_OF_THE_CALENDAR = [
    ("0001-01-01T00:00:00Z", "0001-01-01T00:00:01Z"),
    ("9999-12-31T00:00:00Z", "9999-12-31T23:59:59.999999Z"),
    ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
    ("2020-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
]


@pytest.mark.parametrize("path", ["/v1/call/log", "/v1/call/summary"])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Ho_Chi_Minh", "America/Lima", "Pacific/Kiritimati", "Etc/GMT+12"])
def test_a_period_beyond_the_calendar_is_refused_wherever_one_lives(config, engine, client_id, path, zone):
    api = api_client(create_app(replace(config, timezone=ZoneInfo(zone))), engine, client_id)
    moments = ("0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z", "9999-12-31T23:59:59.999999Z")
    alone = [f"{end}_date={moment}" for end in ("start", "end") for moment in moments]
    for query in [*alone, *(f"start_date={first}&end_date={last}" for first, last in ENDS_OF_THE_CALENDAR)]:
        answer = api.get(f"{path}?{query}")
        assert (answer.status, answer.error) == (400, BEYOND), query
    for day in ("0001-01-02", "0001-01-03", "9999-12-29", "9999-12-30"):
        for query in (f"start_date={day}T00:00:00Z&end_date={day}T23:59:59.999999Z", f"end_date={day}T12:00:00Z"):
            assert api.get(f"{path}?{query}").status in (200, 400), query


@pytest.mark.parametrize(("first", "last"), ENDS_OF_THE_CALENDAR)
def test_no_export_reaches_beyond_the_calendar(api, first, last):
    answer = api.post("/v1/call/export", {"start_date": first, "end_date": last})
    assert (answer.status, answer.error) == (400, BEYOND)


@pytest.mark.parametrize("microseconds", [2**63 - 1, 2**62, 253402300800 * 10**6])
@pytest.mark.parametrize("accept", ["application/json", "text/csv"])
def test_a_cursor_of_a_moment_that_is_not_in_the_calendar_is_none(api, microseconds, accept):
    answer = api.get(f"/v1/call/log?after={write_cursor('call', microseconds, 1)}", headers={"Accept": accept})
    assert (answer.status, answer.error) == (400, "after: not a cursor of this list")


def test_a_cursor_of_the_last_moment_in_the_calendar_is_one(api):
    last = write_cursor("call", 253402300800 * 10**6 - 1, 2**63 - 1)
    assert api.get(f"/v1/call/log?after={last}").status == 200


def test_no_dates_mean_today_in_the_configured_zone():
    for now, first, last in [
        ("2026-11-22 17:00:00", "2026-11-22 17:00:00", "2026-11-23 16:59:59.999999"),
        ("2026-11-22 16:59:59", "2026-11-21 17:00:00", "2026-11-22 16:59:59.999999"),
    ]:
        today = period(None, None, at(now), SAIGON)
        assert (today.start, today.end) == (at(first), at(last))


def test_today_is_as_long_as_it_is_where_the_clocks_change():
    berlin = ZoneInfo("Europe/Berlin")
    short = period(None, None, at("2026-03-29 12:00:00"), berlin)
    long = period(None, None, at("2026-10-25 12:00:00"), berlin)
    assert short.end - short.start == timedelta(hours=23) - timedelta(microseconds=1)
    assert long.end - long.start == timedelta(hours=25) - timedelta(microseconds=1)


def test_one_date_alone_reaches_to_the_end_of_today_or_from_the_start_of_its_day():
    now = at("2026-11-22 12:00:00")
    assert period(at("2026-11-20 08:00:00"), None, now, ZoneInfo("UTC")).end == at("2026-11-22 23:59:59.999999")
    assert period(None, at("2026-11-20 08:00:00"), now, ZoneInfo("UTC")).start == at("2026-11-20 00:00:00")
    with pytest.raises(Invalid):
        period(now - MAX_PERIOD * 2, None, now, ZoneInfo("UTC"))


def test_amounts_are_exact_and_whole_ones_integers(api, add_calls):
    add_calls("2022-02-06 10:00:00", amount=Decimal("0.30000"))
    add_calls("2022-02-06 11:00:00", amount=Decimal("285.00000"))
    body = api.get("/v1/call/log?start_date=2022-02-06%2000:00:00&end_date=2022-02-07%2000:00:00").body
    assert b'"amount":285,' in body
    assert b'"amount":0.3,' in body


def test_partitions_are_made_ahead_once_also_over_the_turn_of_the_year(engine):
    with time_machine.travel(datetime(2031, 11, 30, 23, 59, 59, tzinfo=UTC)):
        assert make_ahead(engine) == 4
        assert make_ahead(engine) == 0
    names = {row[0] for row in rows(engine, "SELECT relname FROM pg_class WHERE relname LIKE 'call_record_203%'")}
    months = ("2031_11", "2031_12", "2032_01", "2032_02")
    assert {f"call_record_{month}" for month in months} <= names


def test_a_call_at_the_first_tick_of_a_month_lies_in_that_month(engine, add_calls):
    add_calls("2022-05-01 00:00:00", "2022-04-30 23:59:59")
    with transaction(engine) as tx:
        tx.execute(text("SET LOCAL timezone = 'Asia/Ho_Chi_Minh'"))
        ensure_month(tx, at("2022-04-30 23:59:59"))
    found = rows(engine, "SELECT tableoid::regclass::text FROM call_record WHERE uniqueid LIKE '2022-0_-%' ORDER BY 1")
    assert {"call_record_2022_04", "call_record_2022_05"} <= {row[0] for row in found}


def test_a_query_of_a_month_reads_only_that_month(engine, client_id, add_calls):
    add_calls("2022-07-01 10:00:00", "2022-08-01 10:00:00")
    plan = "\n".join(
        row[0]
        for row in rows(
            engine,
            "EXPLAIN SELECT * FROM call_record"
            " WHERE client_id = :c AND start_time BETWEEN '2022-08-01' AND '2022-08-31'",
            c=client_id,
        )
    )
    assert "call_record_2022_08" in plan
    assert "call_record_2022_07" not in plan
