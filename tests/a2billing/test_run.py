"""The command as an operator runs it: killed in the middle, twice at once, on the wrong address, in little memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from service.access.keys import create_client
from service.ledger.proof.verify import verify
from tests.a2billing.old_system import bring, counts
from tests.conftest import SECRET
from tests.support import servers
from tests.support.ledger import rows

ROOT = Path(__file__).resolve().parents[2]
FLASK = [str(Path(sys.executable).parent / "flask"), "--app", "wsgi", "import", "a2billing"]
MANY = """
    INSERT INTO cc_card (id, username, useralias, credit, activated)
    SELECT n, 'u' || n, 'a' || n, n / 8.0, true FROM generate_series(1, {cards}) n;
    INSERT INTO cc_callerid (id, cid, id_cc_card) SELECT n, '09' || n, n FROM generate_series(1, {cards}) n;
    INSERT INTO cc_call (id, card_id, uniqueid, starttime, stoptime, sessiontime, sessionbill, src, calledstation)
    SELECT n, 1 + n % {cards}, 'u' || n / 3, timestamp '2024-01-01' + n * interval '20 s',
           timestamp '2024-01-01' + n * interval '20 s', n % 600, n / 1000.0, '09' || n, '0281'
    FROM generate_series(1, {calls}) n;
    INSERT INTO cc_logrefill (id, credit, card_id, description)
    SELECT n, n, 1 + n % {cards}, 'top-up' FROM generate_series(1, {cards}) n
"""


@pytest.fixture
def command(own_database):
    """What starts the command on a database of this test's own; Redis is away."""
    environment = {
        **os.environ,
        "DATABASE_URL": own_database,
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "SECRET_KEY": SECRET,
    }

    def start(*words):
        return subprocess.Popen(
            [*FLASK, *words], cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    return start


def finished(process):
    output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors


def contents(engine):
    """All that a run leaves behind, but for moments and ids that are drawn."""
    return {
        "customers": rows(engine, "SELECT id, username, useralias FROM customer ORDER BY id"),
        "events": rows(engine, "SELECT customer_id, seq, kind, delta, detail::text FROM ledger_event ORDER BY 1, 2"),
        "caller ids": rows(engine, "SELECT cid, customer_id, activated FROM caller_id ORDER BY 1"),
        "calls": rows(
            engine, "SELECT uniqueid, leg, customer_id, start_time, amount, source FROM call_record ORDER BY 1, 2"
        ),
        "counted": rows(engine, "SELECT hours, starts_at, sum(calls) FROM call_tally GROUP BY 1, 2 ORDER BY 1, 2"),
        "refills": rows(engine, "SELECT refill_id, customer_id, credit FROM imported_refill ORDER BY 1"),
    }


def test_a_run_that_is_killed_again_and_again_comes_to_the_same_as_one_in_one_go(postgres, own_engine, home, command):
    postgres.run(MANY.format(cards=1600, calls=9000))
    kills = 0
    for wait in (0.0, 0.3, 0.2, 0.4):
        process = command(postgres.url, "home")
        before = sum(counts(own_engine).values())
        deadline = time.monotonic() + 60
        while process.poll() is None and sum(counts(own_engine).values()) == before and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(wait)
        if process.poll() is None:
            process.kill()
            kills += 1
        process.communicate()
    assert kills >= 2
    status, output, errors = finished(command(postgres.url, "home"))
    assert (status, errors) == (0, "")
    assert "not taken" in output
    killed = contents(own_engine)
    verify(own_engine)
    assert [len(killed[what]) for what in ("customers", "events", "calls")] == [1600, 4800, 9000]
    assert contents_in_one_go(postgres) == killed


def contents_in_one_go(old):
    with servers.copied(f"{os.environ[servers.TEMPLATE]}_{uuid.uuid4().hex[:8]}") as url:
        fresh = create_engine(url, isolation_level="AUTOCOMMIT")
        bring(old, fresh, create_client(fresh, "home"))
        found = contents(fresh)
        fresh.dispose()
    return found


def test_two_runs_at_once_bring_everything_once(postgres, own_engine, home, command):
    postgres.run(MANY.format(cards=600, calls=2500))
    both = [command(postgres.url, "home") for _ in range(2)]
    assert [finished(each)[0] for each in both] == [0, 0]
    assert contents(own_engine) == contents_in_one_go(postgres)
    verify(own_engine)


PEAK = """
import resource, sys
from service.app import create_app
done = create_app().test_cli_runner().invoke(args=["import", "a2billing", *sys.argv[1:]])
print(done.output, done.exit_code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_calls(postgres, own_database, own_engine, home):
    environment = {
        **os.environ,
        "DATABASE_URL": own_database,
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "SECRET_KEY": SECRET,
    }

    def peak():
        done = subprocess.run(
            [sys.executable, "-c", PEAK, postgres.url, "home", "--report", os.devnull],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        status, kilobytes = done.stdout.split()[-2:]
        assert status == "0", done.stdout
        return int(kilobytes) / 1024

    postgres.run(MANY.format(cards=500, calls=5000))
    small = peak()
    postgres.run(
        "INSERT INTO cc_call (id, card_id, uniqueid, starttime, stoptime, sessiontime)"
        " SELECT n, n % 600, n, timestamp '2024-01-01', timestamp '2024-01-01', 1 FROM generate_series(10000, 110000) n"
    )
    large = peak()
    assert rows(own_engine, "SELECT count(*) FROM call_record")[0][0] > 80_000
    assert large < small + 40, f"{small:.0f} MB for 5,000 calls, {large:.0f} MB for 100,000 more"


def test_an_unknown_client_and_a_foreign_database_are_said_in_a_sentence(app, engine, own_database):
    done = app.test_cli_runner().invoke(args=["import", "a2billing", own_database, "nobody at all"])
    assert (done.exit_code, done.output) == (1, "Error: there is no client 'nobody at all'\n")
    name = f"client {time.time_ns()}"
    create_client(engine, name)
    done = app.test_cli_runner().invoke(args=["import", "a2billing", own_database, name])
    assert done.exit_code == 1
    assert "this is no A2Billing database: it has no table cc_card_group" in done.output


def test_what_was_brought_is_printed_and_what_was_not_stands_in_the_file(furnished, app, engine, tmp_path):
    name = f"client {time.time_ns()}"
    create_client(engine, name)
    furnished.add("cc_call", id=900, card_id=404)
    words = ["import", "a2billing", furnished.url, name, "--report", str(tmp_path / "report.csv")]
    dry = app.test_cli_runner().invoke(args=[*words, "--dry-run"])
    assert (dry.exit_code, "Nothing was written" in dry.output) == (0, True)
    done = app.test_cli_runner().invoke(args=[*words, "--timezone", "UTC"])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0].split() == ["new", "there", "already", "changed", "not", "taken"]
    assert [line.split() for line in lines if line.startswith("cc_call ")] == [["cc_call", "4", "0", "0", "1"]]
    assert "    cc_call 900: its card 404 was not imported" in lines
    assert "cc_call,900,not taken,its card was not imported," in (tmp_path / "report.csv").read_text()


def test_a_clock_that_shows_another_hour_raises_a_warning(furnished, app, engine):
    name = f"client {time.time_ns()}"
    create_client(engine, name)
    words = ["import", "a2billing", furnished.url, name, "--dry-run", "--timezone"]
    assert "is the --timezone right?" in app.test_cli_runner().invoke(args=[*words, "Asia/Ho_Chi_Minh"]).output
    assert "is the --timezone right?" not in app.test_cli_runner().invoke(args=[*words, "UTC"]).output


@pytest.mark.parametrize("words", [("--since", "yesterday"), ("--timezone", "Nowhere/Land")])
def test_an_option_that_cannot_be_read_is_refused(app, engine, words):
    name = f"client {time.time_ns()}"
    create_client(engine, name)
    done = app.test_cli_runner().invoke(args=["import", "a2billing", "mysql://x@127.0.0.1/y", name, *words])
    assert done.exit_code == 2


def test_the_command_has_help(app):
    done = app.test_cli_runner().invoke(args=["import", "a2billing", "--help"])
    assert (done.exit_code, "DATABASE_URL" in done.output) == (0, True)
