"""Whatever is asked of a log of two years, the plan prunes partitions and reads an index, never a whole table."""

from __future__ import annotations

import os
import re
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import make_url

from service.calls.period import Period
from service.calls.read import calls_after, list_calls
from service.calls.rematch import _BY_INDEX as BY_INDEX
from service.calls.rematch import _FIND as FIND_UNMATCHED
from service.calls.rematch import _SETTLE as SETTLE
from service.calls.summary import GroupBy, summarize
from service.calls.wanted import Wanted
from service.db.engine import make_engine
from service.db.transaction import reading, transaction
from tests.support import servers

MONTHS = 24
PER_MONTH = 2_500
FIRST = datetime(2022, 1, 1, tzinfo=UTC)
MONTH = Period(datetime(2023, 3, 1, tzinfo=UTC), datetime(2023, 3, 31, 23, 59, 59, tzinfo=UTC))


class Own:
    """A database with two years of calls of one client, in which 200 customers have a source each."""

    def __init__(self, engine):
        self.engine = engine
        with transaction(engine) as tx:
            self.client = tx.scalar(text("INSERT INTO client (name) VALUES ('two years') RETURNING id"))
            for month in range(MONTHS):
                tx.execute(text("SELECT call_record_ensure_month(:m)"), {"m": FIRST + timedelta(days=31 * month)})
            tx.execute(_FILL, {"client": self.client, "first": FIRST, "count": MONTHS * PER_MONTH})
        with reading(engine) as connection:
            connection.execute(text("VACUUM ANALYZE call_record"))
            connection.execute(text("VACUUM ANALYZE call_tally"))


_FILL = text("""
    INSERT INTO call_record (client_id, start_time, customer_id, uniqueid, source, destination, end_time, duration,
                             amount)
    SELECT :client, moment, nullif(n % 200, 0), n::text, '02' || n % 200, '8490' || n % 1000, moment, n % 60, 1
    FROM generate_series(1, CAST(:count AS int)) AS n,
         LATERAL (SELECT CAST(:first AS timestamptz) + n * interval '17 minutes 30 seconds' AS moment) AS at
""")


@pytest.fixture(scope="module")
def own(config):
    with servers.copied(f"{os.environ[servers.TEMPLATE]}_{uuid.uuid4().hex[:8]}") as url:
        engine = make_engine(replace(config, database_url=make_url(url)))
        yield Own(engine)
        engine.dispose()


def plans(own, ask):
    """The plan of each statement on calls that `ask` sends, the functions' own statements left out."""
    sent = []

    def listen(connection, cursor, statement, parameters, *_):
        if "FROM call_record" in statement:
            sent.append((statement, parameters))

    event.listen(own.engine, "before_cursor_execute", listen)
    try:
        ask()
    finally:
        event.remove(own.engine, "before_cursor_execute", listen)
    with own.engine.connect() as connection:
        return ["\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {s}", p)) for s, p in sent]


def partitions(plan):
    return set(re.findall(r"on (call_record_\d{4}_\d\d)", plan))


WANTED = {
    "a source": {"source": "0217"},
    "a customer": {"customer_id": 17},
    "nobody's": {"unmatched": True},
}


@pytest.mark.parametrize("narrowed", WANTED.values(), ids=WANTED.keys())
@pytest.mark.parametrize("offset", [0, 5])
def test_a_page_and_its_total_read_an_index_of_the_months_concerned(own, narrowed, offset):
    wanted = Wanted(own.client, MONTH, **narrowed)
    asked = plans(own, lambda: list_calls(own.engine, wanted, limit=10, offset=offset))
    assert len(asked) == 2
    for plan in asked:
        assert "Seq Scan" not in plan, plan
        assert partitions(plan) == {"call_record_2023_03"}, plan
        assert "Index" in plan


def test_a_page_after_a_cursor_reads_on_from_there(own):
    first = calls_after(own.engine, Wanted(own.client, MONTH), None, 10)
    [plan] = plans(own, lambda: calls_after(own.engine, Wanted(own.client, MONTH), first.next, 10))
    assert "Seq Scan" not in plan
    assert "Sort" not in plan
    assert re.search(r"Index Cond: .*ROW\(start_time, id\) <", plan), plan


def test_a_page_of_a_whole_month_reads_an_index_of_that_month_and_far_down_no_more_than_an_hour(own):
    """What stands in the function, with the place that it finds: of 2,400 calls only those of an hour are read."""
    page = text("""
        EXPLAIN ANALYZE SELECT c.* FROM call_record c
        WHERE c.client_id = :client AND c.start_time >= :from AND c.start_time < :before
        ORDER BY c.start_time DESC, c.id DESC LIMIT 10 OFFSET :skip
    """)
    stretch = {"client": own.client, "from": MONTH.start, "before": MONTH.end + timedelta(microseconds=1)}
    with reading(own.engine) as connection:
        body = connection.scalar(text("SELECT prosrc FROM pg_proc WHERE proname = 'call_page'"))
        place = connection.execute(text("SELECT * FROM call_place(:client, :from, :before, 2400, 500)"), stretch).one()
        plan = "\n".join(connection.execute(page, {**stretch, "before": place.before, "skip": place.skip}).scalars())
    assert "ORDER BY c.start_time DESC, c.id DESC LIMIT p_limit OFFSET place.skip" in body
    assert "Seq Scan" not in plan
    assert "Sort" not in plan
    assert partitions(plan) == {"call_record_2023_03"}
    assert max(int(rows) for rows in re.findall(r"actual time=\S+ rows=(\d+)", plan)) <= 10 + 4, plan


@pytest.mark.parametrize("group_by", GroupBy)
@pytest.mark.parametrize("offset", [0, 1_000_000])
def test_a_summary_reads_the_calls_of_its_period_once(own, group_by, offset):
    wanted = Wanted(own.client, MONTH)
    [plan] = plans(own, lambda: summarize(own.engine, wanted, group_by, ZoneInfo("UTC"), limit=10, offset=offset))
    assert len(re.findall(r" on call_record_\d{4}_\d\d ", plan)) == 1, plan
    assert partitions(plan) == {"call_record_2023_03"}, plan


def test_who_looks_for_unmatched_calls_reads_only_those(own):
    with transaction(own.engine) as tx:
        values = {"client": own.client, "source": None, "limit": 100, "start": "-infinity", "id": 0}
        plan = "\n".join(tx.execute(text(f"EXPLAIN {FIND_UNMATCHED.text}"), values).scalars())
        used = set(re.findall(r"using (call_record\S+)", plan))
        partial = "SELECT indexname FROM pg_indexes WHERE indexdef LIKE '%WHERE (customer_id IS NULL)'"
        assert used
        assert used <= set(tx.scalars(text(partial)))
    assert "Seq Scan on call_record" not in plan, plan


def test_who_settles_what_was_unmatched_looks_each_call_up(own):
    """By the thousand too, where a planner that is left to itself reads two years from end to end."""
    with transaction(own.engine) as tx:
        some = tx.execute(text("SELECT start_time, id FROM call_record ORDER BY id LIMIT 1000")).all()
        values = {
            "client": own.client, "starts": [call.start_time for call in some], "ids": [call.id for call in some],
            "customers": [1] * 1000, "events": [1] * 1000,
        }  # fmt: skip
        tx.execute(BY_INDEX)
        plan = "\n".join(tx.execute(text(f"EXPLAIN {SETTLE.text}"), values).scalars())
    assert "Seq Scan on call_record" not in plan, plan
    assert "Hash Join" not in plan
