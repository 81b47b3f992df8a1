"""`make run` around a stand-in service: what it shows, what it keeps, and that it leaves nothing running."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import requests

from dev.embedded import Postgres, Valkey
from dev.embedded.ports import free_port

ROOT = Path(__file__).parents[2]

Start = Callable[..., "object"]
Gone = Callable[[list[psutil.Process]], bool]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of its own: the real `dev` beside a stand-in service."""
    shutil.copytree(Path(__file__).parent / "standin", tmp_path / "project")
    shutil.copytree(ROOT / "dev", tmp_path / "project" / "dev", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "project"


def add_process(project: Path, line: str) -> Path:
    with (project / "Procfile").open("a") as procfile:
        procfile.write(f"{line}\n")
    return project


@pytest.fixture
def stubborn(project: Path) -> Path:
    """With a process that does not listen to SIGTERM, and leaves a child in a session of its own."""
    return add_process(project, "stubborn: python stubborn.py")


@pytest.fixture
def talkative(project: Path) -> Path:
    """With a process that writes as fast as it can."""
    return add_process(project, "chatter: yes")


@pytest.fixture
def port() -> str:
    return str(free_port())


def test_one_screen_shows_the_address_a_key_and_three_lines_that_work(run: Start, project: Path, port: str):
    running = run(project, PORT=port).up()
    key = running.line(r"Demo API key\s+(\S+)")[1]
    assert running.line(r"Base URL\s+(\S+)")[1] == f"http://127.0.0.1:{port}"
    token, put, get = [line.strip() for line in running.lines if "curl" in line]
    assert key in token
    answer = subprocess.run(["/bin/sh", "-c", f'{token}; echo "$TOKEN"'], check=True, capture_output=True, text=True)
    assert answer.stdout == "the-token\n"
    assert f"curl -X PUT http://127.0.0.1:{port}/v1/customer/1/credit " in put
    assert f"curl http://127.0.0.1:{port}/v1/customer/1 " in get


def test_the_log_names_the_process_of_each_line_and_the_screen_comes_first(run: Start, project: Path, port: str):
    running = run(project, PORT=port).up()
    running.line(r"^worker     \| working$")
    running.line(r"^web        \| .*Booting worker")
    running.line(r"^subscriber \| waiting for webhooks on http://127\.0\.0\.1:\d+/$")
    screen = running.text.split("Ctrl-C ends everything")[0]
    assert not re.search(r"^\w+ +\| ", screen, re.MULTILINE)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_ends_everything_within_five_seconds(
    run: Start, all_gone: Gone, stubborn: Path, port: str, how: signal.Signals
):
    running = run(stubborn, PORT=port).up()
    everything = running.everything()
    assert len(everything) > 15  # servers, processes, their workers and children, guards
    began = time.monotonic()
    running.process.send_signal(how)
    time.sleep(0.3)
    running.process.send_signal(how)  # an impatient second Ctrl-C changes nothing
    assert running.exit_code() == 0
    assert time.monotonic() - began < 5
    assert all_gone(everything, 0.2)


def test_a_stop_during_the_start_leaves_nothing_either(run: Start, all_gone: Gone, project: Path, port: str):
    running = run(project, PORT=port)
    running.line("Preparing the database")
    everything = running.everything()
    assert everything
    assert running.stop() == 0
    assert all_gone(everything, 0.5)


def test_a_killed_supervisor_leaves_nothing_running(run: Start, all_gone: Gone, stubborn: Path, port: str):
    running = run(stubborn, PORT=port).up()
    everything = running.everything()
    running.process.kill()
    assert all_gone(everything)


def test_a_second_run_keeps_key_secret_and_subscriber(run: Start, project: Path, port: str):
    first = run(project, PORT=port).up()
    shown = [first.line(pattern)[1] for pattern in (r"Demo API key\s+(\S+)", r"webhooks on (\S+)")]
    first.stop()
    kept = {name: (project / ".data" / name) for name in ("secret-key", "demo-api-key", "demo-subscriber")}
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in kept.values())
    before = {name: file.read_text() for name, file in kept.items()}
    second = run(project, PORT=port).up()
    assert [second.line(pattern)[1] for pattern in (r"Demo API key\s+(\S+)", r"webhooks on (\S+)")] == shown
    assert {name: file.read_text() for name, file in kept.items()} == before
    assert len((project / "endpoints").read_text().split()) == 1


def test_a_kept_key_that_is_void_is_replaced(run: Start, project: Path, port: str):
    first = run(project, PORT=port).up()
    old = first.line(r"Demo API key\s+(\S+)")[1]
    first.stop()
    (project / "issued-key").write_text("another")
    second = run(project, PORT=port).up()
    assert second.line(r"Demo API key\s+(\S+)")[1] == (project / "issued-key").read_text() != old


def test_a_subscriber_whose_port_was_taken_moves_with_an_endpoint_of_its_own(run: Start, project: Path, port: str):
    run(project, PORT=port).up().stop()
    taken = json.loads((project / ".data" / "demo-subscriber").read_text())["port"]
    with socket.create_server(("127.0.0.1", taken)):
        running = run(project, PORT=port).up()
    first, second = (project / "endpoints").read_text().split()
    assert first == f"http://127.0.0.1:{taken}/"
    assert running.line(r"webhooks on (\S+)")[1] == second != first


def test_a_process_that_ends_is_named_with_its_code_and_takes_the_rest_along(
    run: Start, all_gone: Gone, project: Path, port: str
):
    running = run(project, PORT=port).up()
    everything = running.everything()
    (project / "die").touch()
    assert running.exit_code() == 1
    assert "worker ended unexpectedly with code 3" in running.lines[-1]
    assert all_gone(everything, 0.2)


def test_a_process_that_ends_before_the_screen_shows_its_last_lines(run: Start, project: Path, port: str):
    (project / "Procfile").write_text("release: true\nweb: sh -c 'echo no such luck; exit 7'\n")
    running = run(project, PORT=port)
    assert running.exit_code(30) == 1
    assert running.line(r"^web .*no such luck")
    assert "web ended unexpectedly with code 7" in running.lines[-1]


def test_a_server_that_ends_is_named(run: Start, project: Path, port: str):
    running = run(project, PORT=port).up()
    valkey = next(process for process in running.everything() if process.name() == "valkey-server")
    valkey.kill()
    assert running.exit_code() == 1
    assert "Valkey ended unexpectedly with code 137" in running.lines[-1]


def test_a_release_that_fails_is_shown_with_its_reason(run: Start, project: Path, port: str):
    (project / "broken-migration").touch()
    running = run(project, PORT=port)
    assert running.exit_code(30) == 1
    assert running.lines[-3:] == [
        "make run: `./release` ended with exit code 4:",
        "migrating",
        "the schema is from the future",
    ]


def test_a_port_in_use_is_one_clear_sentence_before_anything_starts(run: Start, project: Path, port: str):
    with socket.create_server(("127.0.0.1", int(port))):
        running = run(project, PORT=port)
        assert running.exit_code() == 1
    other = int(port) + 1
    assert running.lines == [f"make run: Port {port} is already in use; choose another: PORT={other} make run"]
    assert not (project / ".data").exists()


@pytest.mark.parametrize("text", ["http", "0", "65536", "-1", "８０００"])
def test_a_port_that_is_none_is_one_clear_sentence(run: Start, project: Path, text: str):
    running = run(project, PORT=text)
    assert running.exit_code() == 1
    assert running.lines == [f"make run: PORT is {text!r}, which is no port number; choose one: PORT=8001 make run"]


def test_a_second_run_beside_the_first_is_refused_in_one_sentence(run: Start, project: Path, port: str):
    first = run(project, PORT=port).up()
    same_port = run(project, PORT=port)
    assert same_port.exit_code() == 1
    assert "is already in use" in same_port.lines[-1]
    other_port = run(project, PORT=str(free_port()))
    assert other_port.exit_code() == 1
    assert "Another PostgreSQL" in other_port.lines[-1]
    assert requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5).ok
    assert first.process.poll() is None


def test_servers_of_the_caller_are_used_instead_and_their_demo_is_kept_apart(
    run: Start, project: Path, port: str, tmp_path: Path
):
    with Postgres(tmp_path / "theirs", durable=False) as postgres, Valkey(tmp_path / "theirs") as valkey:
        url = postgres.url.replace("postgres@", "postgres:hush@")
        running = run(project, PORT=port, DATABASE_URL=url, REDIS_URL=valkey.url).up()
        assert "hush" not in running.text
        names = {process.name() for process in running.everything()}
        assert not names & {"postgres", "valkey-server"}
        running.stop()
        assert postgres.exit_code is None
        assert valkey.exit_code is None
    assert not (project / ".data" / "demo-api-key").exists()
    assert list((project / ".data").glob("database-*/demo-api-key"))


def test_the_data_directory_can_be_chosen(run: Start, project: Path, port: str, tmp_path: Path):
    run(project, PORT=port, PBX_DATA_DIR=str(tmp_path / "elsewhere")).up().stop()
    assert (tmp_path / "elsewhere" / "postgres-18").is_dir()
    assert not (project / ".data").exists()


@pytest.mark.parametrize("lines", [1, 12])
def test_a_reader_that_goes_away_ends_the_run(gone: Callable[[Path], bool], project: Path, port: str, lines: int):
    """`make run | head`: the reader leaves while the servers start, or while the log runs."""
    line = f"{sys.executable} -m dev.run 2>errors | head -n {lines}"
    environ = {**os.environ, "PORT": port, "PYTHONUNBUFFERED": "1"}
    subprocess.run(["/bin/sh", "-c", line], cwd=project, env=environ, check=True, capture_output=True, timeout=60)
    assert gone(project)
    assert (project / "errors").read_text() == ""


def test_a_flood_of_lines_does_not_delay_the_end(run: Start, all_gone: Gone, talkative: Path, port: str):
    running = run(talkative, PORT=port).up()
    everything = running.everything()
    began = time.monotonic()
    assert running.stop() == 0
    assert time.monotonic() - began < 5
    assert all_gone(everything, 0.2)
