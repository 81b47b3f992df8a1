"""Exports: every call once, whoever is killed, late or two at a time, and nobody held up by anybody."""

from __future__ import annotations

import gzip
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from service.access.keys import create_client
from service.calls import export_turn
from service.calls.export import (
    MOST_UNFINISHED,
    Status,
    create_export,
    find_export,
    forget_expired,
    list_exports,
    read_file,
)
from service.calls.export_turn import (
    LEASE,
    MOST_ATTEMPTS,
    claim,
    give_back,
    has_turns,
    make_chunk,
    take_turn,
    write_chunk,
)
from service.calls.period import Period
from service.calls.sheet import COLUMNS
from service.calls.wanted import Wanted
from service.db.transaction import transaction
from service.errors import Conflict, NotFound, Unavailable
from tests.support.client import add_call
from tests.support.exports import DAYS, add_calls, every_call, rows_of, write_everything
from tests.support.ledger import rows

QUARTER = Period(datetime(2021, 1, 1, tzinfo=UTC), datetime(2021, 4, 1, tzinfo=UTC))


@pytest.fixture(autouse=True)
def nothing_else_waits(engine):
    with transaction(engine) as tx:
        ends = "finished_at = now(), expires_at = now() + interval '1 hour', lease_until = NULL, lease_token = NULL"
        tx.execute(text(f"UPDATE call_export SET status = 'failed', {ends} WHERE finished_at IS NULL"))


@pytest.fixture
def others(engine):
    """Makes other clients."""
    return lambda: create_client(engine, f"client {uuid.uuid4()}")


@pytest.fixture
def short(monkeypatch):
    """Turns of 100 calls."""
    monkeypatch.setattr(export_turn, "STRETCH", 100)


def asked(engine, client_id, **narrowed):
    with transaction(engine) as tx:
        return create_export(tx, Wanted(client_id, QUARTER, **narrowed))


def found(engine, export):
    return find_export(engine, export.wanted.client_id, export.id)


def file_of(engine, export):
    return b"".join(read_file(engine, found(engine, export)))


def set_export(engine, export, assignment, **values):
    with transaction(engine) as tx:
        tx.execute(text(f"UPDATE call_export SET {assignment} WHERE id = :id"), {"id": export.id, **values})


def run_out(engine, export):
    set_export(engine, export, "lease_until = now() - interval '1 second'")


def test_calls_of_three_months_are_all_there_once_newest_first_under_one_header(engine, client_id, short):
    add_calls(engine, client_id, 1_234)
    export = asked(engine, client_id)
    turns = write_everything(engine)
    assert [turn.rows for turn in turns] == [100] * 12 + [34]
    done = found(engine, export)
    assert (done.status, done.total, done.written, done.chunks, done.progress) == ("done", 1_234, 1_234, 13, 1.0)
    file = file_of(engine, export)
    assert len(file) == done.size
    header, *lines = gzip.decompress(file).decode().split("\r\n")
    assert (header, len(lines)) == (",".join(COLUMNS), 1_234 + 1)
    assert [row["id"] for row in rows_of(file)] == every_call(engine, client_id)


def test_a_last_stretch_that_is_just_full_or_empty_changes_nothing(engine, client_id, short):
    add_calls(engine, client_id, 200)
    export = asked(engine, client_id)
    assert [turn.rows for turn in write_everything(engine)] == [100, 100, 0]
    assert (found(engine, export).chunks, len(rows_of(file_of(engine, export)))) == (2, 200)


def test_without_calls_there_is_a_file_with_a_header_alone(engine, client_id):
    export = asked(engine, client_id)
    write_everything(engine)
    assert gzip.decompress(file_of(engine, export)).decode() == ",".join(COLUMNS) + "\r\n"
    assert (found(engine, export).total, found(engine, export).progress) == (0, 1.0)


def test_texts_come_out_as_they_are_and_formulas_as_texts(engine, client_id):
    start = QUARTER.start
    texts = ["=1+1", 'Đầu số, "tổng đài"', "-0899", "two\nlines", "＝1"]
    for source in texts:
        add_call(engine, client_id, start_time=start, end_time=start, source=source, amount=Decimal("0.10"))
    export = asked(engine, client_id)
    write_everything(engine)
    written = rows_of(file_of(engine, export))
    assert {row["source"] for row in written} == {"'=1+1", texts[1], "'-0899", "two\nlines", "'＝1"}
    assert {row["amount"] for row in written} == {"0.1"}
    assert {(row["customer_id"], row["event_id"], row["start_time"]) for row in written} == {
        ("", "", "2021-01-01T00:00:00Z")
    }


def test_both_ends_of_the_period_are_in_it_and_other_clients_are_not(engine, client_id, others):
    for start in (QUARTER.start, QUARTER.end, datetime(2020, 12, 31, 23, 59, 59, tzinfo=UTC)):
        add_call(engine, client_id, start_time=start, end_time=start)
    add_calls(engine, others(), 10)
    export = asked(engine, client_id)
    write_everything(engine)
    assert [row["start_time"][:10] for row in rows_of(file_of(engine, export))] == ["2021-04-01", "2021-01-01"]


@pytest.mark.parametrize(
    ("narrowed", "wanted", "total"),
    [
        ({"source": "0283"}, lambda n: n % 10 == 3, 90),
        ({"customer_id": 2}, lambda n: n % 3 == 2, 300),
        ({"source": "0283", "customer_id": 2}, lambda n: n % 10 == 3 and n % 3 == 2, 90),
        ({"unmatched": True}, lambda n: n % 3 == 0, 300),
        ({"destination": "089"}, lambda n: f"0{n}".startswith("089"), 900),
        ({"min_duration": 119}, lambda n: n % 120 == 119, 900),
        ({"disposition": "BUSY"}, lambda n: False, 900),
    ],
)
def test_what_is_narrowed_down_is_looked_for_a_stretch_at_a_time(engine, client_id, short, narrowed, wanted, total):
    add_calls(engine, client_id, 900)
    export = asked(engine, client_id, **narrowed)
    turns = write_everything(engine)
    assert len(turns) == total // 100 + 1, "however few are found, a turn looks at no more than a stretch"
    numbers = [int(row["uniqueid"].removesuffix(".1")) for row in rows_of(file_of(engine, export))]
    assert numbers == [n for n in range(900, 0, -1) if wanted(n)]
    assert (found(engine, export).total, found(engine, export).written) == (total, len(numbers))


def test_progress_goes_from_nothing_to_all(engine, client_id, short):
    add_calls(engine, client_id, 250)
    export = asked(engine, client_id)
    seen = [found(engine, export)]
    while take_turn(engine, DAYS):
        seen.append(found(engine, export))
    assert [one.progress for one in seen] == [0.0, 0.4, 0.8, 1.0]
    assert [one.status for one in seen] == ["pending", "running", "running", "done"]
    assert [one.written for one in seen] == [0, 100, 200, 250]


def test_calls_that_come_in_meanwhile_double_nothing_and_lose_nothing(engine, client_id, short):
    add_calls(engine, client_id, 250)
    before = every_call(engine, client_id)
    export = asked(engine, client_id)
    while take_turn(engine, DAYS):
        add_calls(engine, client_id, 50)
    written = [row["id"] for row in rows_of(file_of(engine, export))]
    assert len(written) == len(set(written))
    assert set(written) >= set(before)


class TestALease:
    def test_nobody_else_takes_what_is_being_written(self, engine, client_id):
        asked(engine, client_id)
        assert claim(engine, DAYS)
        assert claim(engine, DAYS) is None
        assert not has_turns(engine)

    def test_one_that_ran_out_is_taken_up_and_the_late_writer_changes_nothing(self, engine, client_id, short):
        add_calls(engine, client_id, 250)
        export = asked(engine, client_id)
        take_turn(engine, DAYS)
        late = claim(engine, DAYS)
        late_chunk = make_chunk(engine, late)
        run_out(engine, export)
        assert has_turns(engine)
        again = claim(engine, DAYS)
        assert (again.place, again.chunks) == (late.place, 1)
        assert write_chunk(engine, late, late_chunk, 250, DAYS) is None
        assert give_back(engine, late, "internal", DAYS) is None
        assert (found(engine, export).written, found(engine, export).chunks) == (100, 1)
        assert write_chunk(engine, again, make_chunk(engine, again), 250, DAYS) == "running"
        assert write_chunk(engine, late, late_chunk, 250, DAYS) is None, "nor once it is given back"
        write_everything(engine)
        assert [row["id"] for row in rows_of(file_of(engine, export))] == every_call(engine, client_id)

    def test_one_that_ran_out_but_nobody_took_is_still_good(self, engine, client_id):
        add_calls(engine, client_id, 10)
        export = asked(engine, client_id)
        mine = claim(engine, DAYS)
        run_out(engine, export)
        assert write_chunk(engine, mine, make_chunk(engine, mine), 10, DAYS) == "done"

    def test_it_lasts_a_while(self, engine, client_id):
        export = asked(engine, client_id)
        claim(engine, DAYS)
        left = "SELECT extract(epoch FROM lease_until - now()) FROM call_export WHERE id = :id"
        assert LEASE - 2 < rows(engine, left, id=export.id)[0][0] <= LEASE

    def test_many_workers_at_once_write_each_row_once(self, engine, client_id, short, others):
        clients = [client_id, others(), others()]
        for client in clients:
            add_calls(engine, client, 730)
        exports = [asked(engine, client) for client in clients for _ in range(2)]

        def work():
            while any(found(engine, export).status != "done" for export in exports):
                take_turn(engine, DAYS)

        with ThreadPoolExecutor(4) as pool:
            for worker in [pool.submit(work) for _ in range(4)]:
                worker.result(60)
        for export in exports:
            expected = every_call(engine, export.wanted.client_id)
            assert [row["id"] for row in rows_of(file_of(engine, export))] == expected
            assert found(engine, export).written == 730


class TestTurns:
    def test_clients_take_turns_and_each_has_its_oldest_first(self, engine, client_id, short, others):
        other = others()
        add_calls(engine, client_id, 350)
        add_calls(engine, other, 150)
        first, second = asked(engine, client_id), asked(engine, client_id)
        small = asked(engine, other)
        order = [turn.export_id for turn in write_everything(engine)]
        assert order[:4] == [first.id, small.id, first.id, small.id]
        assert order[4:] == [first.id] * 2 + [second.id] * 4

    def test_a_client_has_one_turn_at_a_time(self, engine, client_id):
        asked(engine, client_id)
        asked(engine, client_id)
        assert claim(engine, DAYS)
        assert claim(engine, DAYS) is None

    def test_a_client_that_is_new_waits_for_no_more_than_a_round(self, engine, client_id, short, others):
        add_calls(engine, client_id, 900)
        big = asked(engine, client_id)
        take_turn(engine, DAYS)
        new = asked(engine, others())
        assert [take_turn(engine, DAYS).export_id for _ in range(2)] == [big.id, new.id]


class TestFailures:
    @pytest.fixture(autouse=True)
    def quiet(self):
        with capture_logs():
            yield

    def broken(self, monkeypatch, error):
        def breaks(*_):
            raise error

        monkeypatch.setattr(export_turn, "calls_between", breaks)

    def again(self, engine, export):
        run_out(engine, export)
        return take_turn(engine, DAYS)

    def test_what_fails_again_and_again_ends_as_failed_with_a_class_of_error(self, engine, client_id, monkeypatch):
        export = asked(engine, client_id)
        self.broken(monkeypatch, ValueError("a secret of somebody's"))
        assert take_turn(engine, DAYS).status == "running"
        assert take_turn(engine, DAYS) is None, "the next attempt waits"
        assert [self.again(engine, export).status for _ in range(MOST_ATTEMPTS - 1)][-1] == "failed"
        failed = found(engine, export)
        assert (failed.status, failed.error) == (Status.FAILED, "internal")
        assert (failed.expires_at - failed.finished_at).days == DAYS
        with pytest.raises(Conflict, match="the export has failed"):
            read_file(engine, failed)
        assert self.again(engine, export) is None

    def test_a_database_that_is_away_says_so(self, engine, client_id, monkeypatch):
        export = asked(engine, client_id)
        self.broken(monkeypatch, Unavailable())
        take_turn(engine, DAYS)
        assert found(engine, export).error == "database"

    def test_what_kills_its_worker_each_time_ends_as_well(self, engine, client_id):
        export = asked(engine, client_id)
        for _ in range(MOST_ATTEMPTS):
            assert claim(engine, DAYS).status == "running"
            run_out(engine, export)
        assert take_turn(engine, DAYS).status == "failed"
        assert (found(engine, export).status, found(engine, export).error) == ("failed", "cut short")
        assert take_turn(engine, DAYS) is None

    def test_attempts_are_those_at_one_chunk(self, engine, client_id, short, monkeypatch):
        add_calls(engine, client_id, 250)
        export = asked(engine, client_id)
        for _ in range(3):
            with monkeypatch.context() as patch:
                self.broken(patch, ValueError())
                for _ in range(MOST_ATTEMPTS - 1):
                    self.again(engine, export)
            self.again(engine, export)
        assert (found(engine, export).status, found(engine, export).error) == ("done", None)

    def test_one_that_fails_keeps_nobody_elses_from_being_written(self, engine, client_id, monkeypatch, others):
        export = asked(engine, client_id)
        with monkeypatch.context() as patch:
            self.broken(patch, ValueError())
            take_turn(engine, DAYS)
        other = asked(engine, others())
        write_everything(engine)
        assert (found(engine, export).status, found(engine, other).status) == ("running", "done")


class TestKeeping:
    def test_a_file_is_there_for_its_days_and_not_after(self, engine, client_id, short):
        forget_expired(engine)  # what other tests have left
        add_calls(engine, client_id, 250)
        export, other = asked(engine, client_id), asked(engine, client_id)
        write_everything(engine)
        done = found(engine, export)
        assert (done.expires_at - done.finished_at).days == DAYS
        assert forget_expired(engine) == 0
        set_export(engine, export, "expires_at = now() - interval '1 second'")
        with pytest.raises(NotFound, match="export not found"):
            found(engine, export)
        assert [one.id for one in list_exports(engine, client_id, limit=10, offset=0)[0]] == [other.id]
        assert forget_expired(engine) == 1
        assert len(rows(engine, "SELECT FROM call_export_chunk WHERE client_id = :c", c=client_id)) == 3
        assert len(rows_of(file_of(engine, other))) == 250

    def test_many_chunks_are_deleted_some_at_a_time(self, engine, client_id, monkeypatch):
        monkeypatch.setattr(export_turn, "STRETCH", 2)
        monkeypatch.setattr("service.calls.export.FORGOTTEN_AT_ONCE", 10)
        add_calls(engine, client_id, 90)
        export = asked(engine, client_id)
        write_everything(engine)
        set_export(engine, export, "expires_at = now() - interval '1 second'")
        assert forget_expired(engine) == 1
        assert rows(engine, "SELECT FROM call_export_chunk WHERE client_id = :c", c=client_id) == []

    def test_a_file_that_goes_away_while_it_is_read_breaks_off(self, engine, client_id, short):
        add_calls(engine, client_id, 250)
        export = asked(engine, client_id)
        write_everything(engine)
        chunks = read_file(engine, found(engine, export))
        assert next(chunks)
        set_export(engine, export, "expires_at = now() - interval '1 second'")
        forget_expired(engine)
        with pytest.raises(NotFound):
            next(chunks)

    def test_what_is_not_done_can_not_be_read_and_is_never_deleted(self, engine, client_id):
        export = asked(engine, client_id)
        with pytest.raises(Conflict, match="the export is not done yet"):
            read_file(engine, export)
        assert found(engine, export).expires_at is None


def test_a_client_can_have_some_unfinished_ones_also_when_it_asks_for_many_at_once(engine, client_id):
    def ask(_):
        try:
            return asked(engine, client_id)
        except Conflict as refusal:
            return refusal.sentence

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(ask, range(MOST_UNFINISHED + 5)))
    assert outcomes.count("a client can have 10 unfinished exports at most") == 5
    write_everything(engine)
    assert asked(engine, client_id)


def test_an_export_of_another_client_is_not_found(engine, client_id):
    export = asked(engine, client_id)
    with pytest.raises(NotFound):
        find_export(engine, uuid.uuid4(), export.id)


def test_lists_are_newest_first_and_paged(engine, client_id):
    exports = [asked(engine, client_id) for _ in range(3)]
    page, total = list_exports(engine, client_id, limit=2, offset=1)
    assert ([one.id for one in page], total) == ([exports[1].id, exports[0].id], 3)
