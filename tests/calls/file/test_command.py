"""`flask import calls`: what it prints, the statuses that scripts trust, and what is left when it is killed."""

from __future__ import annotations

import csv
import gzip
import os
import signal
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal

import pytest

from service.access.keys import create_client
from service.app import create_app
from tests.support.cdr import cdr_line
from tests.support.client import add_customer
from tests.support.ledger import apply_everything, assert_applied, events, rows, stream
from tests.support.processes import ROOT, until

RATE = ("--rate-per-minute", "60", "--increment", "1")
CREDIT = Decimal(10**6)


@pytest.fixture
def flask(app):
    def run(*words, stdin=None):
        done = app.test_cli_runner().invoke(args=["import", "calls", *map(str, words)], input=stdin)
        return done.exit_code, done.output

    return run


@pytest.fixture
def payer(new_customer):
    return new_customer(username="0906237580", credit=CREDIT, caller_ids=["0281"])


@pytest.fixture
def master(tmp_path):
    """Writes a Master.csv."""

    def write(*lines, name="Master.csv"):
        path = tmp_path / name
        path.write_bytes("".join(lines).encode())
        return path

    return write


def figures(output):
    table = [line.split() for line in output.splitlines()]
    return {words[0]: words[1] for words in table if len(words) == 2 and words[0] in FIGURES}


FIGURES = ("lines", "stored", "charged", "unmatched", "duplicates", "refused")


def test_a_master_csv_is_charged_and_a_second_time_it_is_not(flask, master, engine, client_id, payer):
    path = master(cdr_line(billsec=30), cdr_line(billsec=0, disposition="NO ANSWER"), cdr_line(src="0999"))
    status, output = flask(path, client_id, *RATE)
    assert status == 0
    assert output.splitlines() == [
        "lines                       3",
        "stored                      3",
        "charged                    30",
        "unmatched                   1",
        "duplicates                  0",
        "refused                     0",
    ]
    status, output = flask(path, client_id, *RATE)
    assert (status, figures(output)["duplicates"], figures(output)["charged"]) == (0, "3", "0")
    assert stream(engine, payer).balance == CREDIT - 30


def test_by_the_minute_unless_said_otherwise_with_a_minimum(flask, master, client_id, payer):
    path = master(cdr_line(billsec=61), cdr_line(billsec=1))
    assert figures(flask(path, client_id, "--rate-per-minute", "1200.5", "--dry-run")[1])["charged"] == "3601.5"
    words = (path, client_id, "--rate-per-minute", "600", "--increment", "6", "--minimum", "30")
    assert figures(flask(*words)[1])["charged"] == "960"


def test_refused_lines_are_shown_in_part_reported_in_full_and_have_a_status_of_their_own(
    flask, master, tmp_path, client_id, payer
):
    path = master(cdr_line(), *(f'"bad","{number}"\n' for number in range(25)), cdr_line())
    status, output = flask(path, client_id, *RATE, "--report", tmp_path / "report.csv")
    assert status == 3
    assert output.splitlines()[0] == "line 2: has 2 columns and needs 16"
    assert "line 21: " in output
    assert "line 22: " not in output
    assert "… and 5 more; --report FILE has them all" in output
    assert (figures(output)["stored"], figures(output)["refused"]) == ("2", "25")
    with (tmp_path / "report.csv").open(newline="") as file:
        report = list(csv.reader(file))
    assert report[:2] == [["line", "reason"], ["2", "has 2 columns and needs 16"]]
    assert [row[0] for row in report[1:]] == [str(number) for number in range(2, 27)]


def test_a_dry_run_says_so_and_writes_nothing(flask, master, engine, client_id, payer):
    status, output = flask(master(cdr_line(), "bad\n"), client_id, *RATE, "--dry-run")
    assert status == 3
    assert output.splitlines()[-1] == "Nothing was written: this was a dry run."
    assert figures(output)["stored"] == "1"
    assert len(events(engine, payer)) == 1


def test_a_layout_of_ones_own_with_amounts_from_standard_input(flask, engine, client_id, payer):
    content = (
        "số gọi;số nhận;lúc;giây;tiền\n0281;113;2024-05-06 07:08:09;38;1200,5\n0281;114;2024-05-06 07:08:09;38;1200.5\n"
    )
    mapping = ("source=số gọi", "destination=số nhận", "start_time=lúc", "duration=giây")
    words = [word for pair in mapping for word in ("--map", pair)]
    status, output = flask("-", client_id, *words, "--amount-column", "tiền", "--delimiter", ";", stdin=content)
    assert (status, figures(output)["charged"]) == (3, "1200.5")
    assert "line 2: amount: has a comma" in output
    assert stream(engine, payer).balance == CREDIT - Decimal("1200.5")


def test_a_packed_file_and_an_empty_one(flask, tmp_path, client_id, payer):
    path = tmp_path / "Master.csv.1.gz"
    path.write_bytes(gzip.compress(cdr_line().encode()))
    assert figures(flask(path, client_id, *RATE)[1])["stored"] == "1"
    path.write_bytes(b"")
    status, output = flask(path, client_id, *RATE)
    assert (status, figures(output)["lines"]) == (0, "0")


def test_the_zone_of_the_file_is_that_of_the_configuration_or_the_one_that_is_given(config, master, engine, client_id):
    app = create_app(replace(config, timezone=config.timezone.__class__("Asia/Ho_Chi_Minh")))
    run = app.test_cli_runner().invoke
    run(args=["import", "calls", str(master(cdr_line(uniqueid="1.1"))), str(client_id), *RATE])
    run(args=["import", "calls", str(master(cdr_line(uniqueid="1.2"))), str(client_id), *RATE, "--timezone", "UTC"])
    found = rows(engine, "SELECT start_time FROM call_record WHERE client_id = :c ORDER BY uniqueid", c=client_id)
    assert [row.start_time.strftime("%H:%M") for row in found] == ["00:08", "07:08"]


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        ((), 2, "Give either --amount-column or --rate-per-minute"),
        ((*RATE, "--amount-column", "userfield"), 2, "Give either --amount-column or --rate-per-minute"),
        ((*RATE, "--map", "amount=userfield"), 2, "Give either --amount-column or --rate-per-minute"),
        (("--amount-column", "18", "--map", "amount=18"), 2, "exclude each other"),
        (("--amount-column", "18", "--increment", "6"), 2, "belong to --rate-per-minute"),
        (("--rate-per-minute", "1,5"), 2, "not a number such as 1200.5"),
        (("--rate-per-minute", "-1"), 2, "not a number such as 1200.5"),
        ((*RATE, "--delimiter", "::"), 2, "must be one character"),
        ((*RATE, "--timezone", "Hanoi"), 2, "not a time zone name"),
        ((*RATE, "--encoding", "utf-16"), 1, "convert the file to utf-8 first"),
        ((*RATE, "--map", "price=3"), 1, "must be NAME=COLUMN, with a NAME of uniqueid"),
        ((*RATE, "--map", "customer=0"), 1, "columns count from 1"),
        ((*RATE, "--map", "customer=Account"), 1, "there is no such column; the columns are "),
        ((*RATE, "--header"), 1, "no column for source"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(flask, master, client_id, words, status, sentence):
    code, output = flask(master(cdr_line()), client_id, *words)
    assert (code, sentence in output) == (status, True), output
    assert "Traceback" not in output


def test_the_help_names_the_parts_of_a_call_and_the_statuses(flask):
    status, output = flask("--help")
    assert status == 0
    assert all(word in output for word in ("disposition", "3: some lines were refused", "--rate-per-minute"))


def test_a_file_or_a_client_that_there_is_not(flask, master, client_id, tmp_path):
    assert flask(master(cdr_line()), "nobody", *RATE) == (1, "Error: there is no client 'nobody'\n")
    status, output = flask(tmp_path / "nothing.csv", client_id, *RATE)
    assert (status, output) == (1, f"Error: {tmp_path}/nothing.csv: No such file or directory\n")


def test_a_file_that_breaks_off_tells_what_was_done_before(flask, tmp_path, client_id, payer):
    path = tmp_path / "Master.csv.gz"
    path.write_bytes(gzip.compress("".join(cdr_line() for _ in range(2000)).encode())[:-1000])
    status, output = flask(path, client_id, *RATE)
    assert status == 1
    assert "the file cannot be read beyond line" in output
    assert int(figures(output)["stored"]) % 500 == 0
    assert int(figures(output)["stored"]) > 0


def test_the_workers_are_rung_for_and_a_dead_redis_is_no_failure(
    config, master, client_id, payer, processes, own_engine
):
    dead = create_app(replace(config, redis_url="redis://127.0.0.1:1/0"))
    done = dead.test_cli_runner().invoke(args=["import", "calls", str(master(cdr_line())), str(client_id), *RATE])
    assert done.exit_code == 0, done.output
    processes.start("worker")
    own_client = create_client(own_engine, "Acme")
    customer = add_customer(own_engine, own_client, caller_ids=["0281"])
    assert import_process(processes, master(cdr_line()), own_client).wait() == 0
    until(lambda: not rows(own_engine, "SELECT FROM outbox"), what="the charge is applied without a clock")
    assert_applied(own_engine, customer)


def import_process(processes, path, client):
    """The command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", "wsgi", "import", "calls", str(path), str(client), *RATE],
        cwd=ROOT, env=processes.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def test_killed_in_the_middle_and_run_again_it_comes_to_the_same_as_in_one_go(processes, own_engine, master):
    client = create_client(own_engine, "Acme")
    customer = add_customer(own_engine, client, credit=CREDIT, caller_ids=["0281"])
    lines = [cdr_line(uniqueid=f"1.{number // 3}", dst=f"{number}", billsec=1) for number in range(4_500)]
    path = master(*lines)
    stored = lambda: rows(own_engine, "SELECT count(*) FROM call_leg")[0][0]  # noqa: E731
    for kill in range(2):
        process = import_process(processes, path, client)
        before = stored()
        until(lambda: stored() > before or process.poll() is not None, what=f"import {kill} has begun")  # noqa: B023
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it was done before it could be killed"
        process.stdout.close()
        assert 0 < stored() < len(lines)
    output, _ = import_process(processes, path, client).communicate()
    assert int(figures(output)["stored"]) + int(figures(output)["duplicates"]) == len(lines)
    assert stored() == len(lines)
    assert stream(own_engine, customer).balance == CREDIT - len(lines)
    apply_everything(own_engine)
    assert_applied(own_engine, customer)
