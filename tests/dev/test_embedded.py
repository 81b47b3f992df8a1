"""The embedded servers, real ones: they start, come back, keep their data, and end with their starter."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from dev.embedded import Postgres, ServerError, Valkey, accounts, unprivileged
from dev.embedded.pidfile import NOBODY, holder
from dev.embedded.ports import BELOW_EPHEMERAL, free_port

ROOT = Path(__file__).parents[2]

Check = Callable[[Path], bool]
Found = Callable[[Path], list[psutil.Process]]


def query(server: Postgres, sql: str) -> object:
    with psycopg.connect(server.url, autocommit=True) as connection:
        cursor = connection.execute(sql)
        row = cursor.fetchone() if cursor.description else None
    return row[0] if row else None


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with Postgres(tmp_path_factory.mktemp("pg"), durable=False) as server:
        yield server


def test_postgres_speaks_utf8_and_utc_and_lists_its_tools(postgres: Postgres):
    assert query(postgres, "show server_encoding") == "UTF8"
    assert query(postgres, "select datlocale from pg_database where datname = 'postgres'") == "C.UTF-8"
    assert query(postgres, "show timezone") == "UTC"
    assert int(str(query(postgres, "show max_connections"))) >= 200
    assert (postgres.bin / "pgbench").exists()
    assert postgres.url == f"postgresql://postgres@127.0.0.1:{postgres.port}/postgres"


def test_postgres_listens_on_loopback_only(postgres: Postgres):
    server = psutil.Process(holder(postgres.cluster))
    listening = [c.laddr.ip for c in server.net_connections() if c.status == psutil.CONN_LISTEN]
    assert listening == ["127.0.0.1"]
    assert query(postgres, "show unix_socket_directories") == ""


def test_only_a_throwaway_postgres_trades_safety_for_speed(postgres: Postgres, tmp_path: Path):
    assert query(postgres, "show fsync") == "off"
    with Postgres(tmp_path) as durable:
        assert [query(durable, f"show {name}") for name in ("fsync", "synchronous_commit")] == ["on", "on"]


def test_data_is_private_and_its_directory_names_the_major_version(postgres: Postgres):
    assert postgres.cluster.name == "postgres-18"
    assert postgres.cluster.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_postgres_comes_back_on_the_same_port_with_its_data(tmp_path: Path, how: str, gone: Check):
    with Postgres(tmp_path) as server:
        query(server, f"create table kept_{how} (id int)")
        port = server.port
        getattr(server, how)()
        assert server.exit_code is not None
        assert gone(tmp_path)
        server.start()
        assert server.port == port
        assert query(server, f"select count(*) from kept_{how}") == 0


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_valkey_comes_back_on_the_same_port_and_empty(tmp_path: Path, how: str):
    with Valkey(tmp_path) as server:
        client = redis.from_url(server.url)
        client.set("doorbell", 1)
        port = server.port
        getattr(server, how)()
        with pytest.raises(redis.ConnectionError):
            redis.from_url(server.url, retry=None).ping()
        server.start()
        assert server.port == port
        assert client.get("doorbell") is None
        assert redis.from_url(f"redis://127.0.0.1:{port}/63").ping()


def test_a_new_launcher_finds_the_old_data(tmp_path: Path):
    with Postgres(tmp_path, durable=False) as first:
        query(first, "create table kept (id int)")
    with Postgres(tmp_path, durable=False) as second:
        assert query(second, "select count(*) from kept") == 0


def test_a_half_made_cluster_is_made_anew(tmp_path: Path):
    (tmp_path / "postgres-18.new" / "base").mkdir(parents=True)
    with Postgres(tmp_path, durable=False) as server:
        assert query(server, "select 1") == 1


def test_starting_twice_is_starting_once(postgres: Postgres):
    port = postgres.port
    assert postgres.start().port == port


def test_a_second_server_on_the_same_data_is_refused_in_one_sentence(postgres: Postgres):
    with pytest.raises(ServerError, match=r"^Another PostgreSQL \(process \d+\) uses .* stop it first\.$"):
        Postgres(postgres.data_dir).start()


def leave_pidfile(cluster: Path, pid: int) -> None:
    (cluster / "postmaster.pid").write_text(
        f"{pid}\n{cluster}\n1700000000\n5432\n\n127.0.0.1\n{' ' * 4}0 0\nready   \n"
    )


def test_a_stale_postmaster_pid_does_not_prevent_a_start(tmp_path: Path):
    with Postgres(tmp_path, durable=False) as server:
        pass
    for pid in (NOBODY, os.getpid()):  # a process that is gone, and an innocent one that got its number
        leave_pidfile(server.cluster, pid)
        with server:
            assert query(server, "select 1") == 1


def test_a_zombie_in_postmaster_pid_does_not_prevent_a_start(tmp_path: Path):
    with Postgres(tmp_path, durable=False) as server:
        pass
    zombie = subprocess.Popen(["true"])
    while psutil.Process(zombie.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    leave_pidfile(server.cluster, zombie.pid)
    with server:
        assert query(server, "select 1") == 1
    zombie.wait()


def test_a_taken_port_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", free_port())) as squatter:
        offers = iter([squatter.getsockname()[1]] * 2 + [free_port()] * 3)
        monkeypatch.setattr("dev.embedded.server.free_port", lambda: next(offers))
        with Valkey(tmp_path) as server:
            assert redis.from_url(server.url).ping()
            assert server.port != squatter.getsockname()[1]


def test_a_port_that_was_taken_during_an_outage_is_named(tmp_path: Path):
    server = Valkey(tmp_path).start()
    server.stop()
    refusal = pytest.raises(ServerError, match=f"^Valkey found no free port: {server.port} is taken")
    with socket.create_server(("127.0.0.1", server.port)), refusal:
        server.start()


def test_ports_lie_where_no_outgoing_connection_takes_them():
    assert all(free_port() in BELOW_EPHEMERAL for _ in range(50))


def test_a_server_that_cannot_start_shows_the_end_of_its_log(tmp_path: Path, gone: Check):
    with Postgres(tmp_path, durable=False) as server:
        pass
    (server.cluster / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(ServerError, match="PostgreSQL could not start") as refused:
        server.start()
    assert "no_such_setting" in refused.value.log_tail
    assert gone(tmp_path)


STARTER = """
import sys, time
from pathlib import Path
from dev.embedded import Postgres, Valkey
directory = Path(sys.argv[1])
with Postgres(directory, durable=False) as postgres, Valkey(directory / "valkey") as valkey:
    print("started", flush=True)
    exec(sys.argv[2])
"""


def starter(directory: Path, then: str = "time.sleep(600)", **how: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", STARTER, str(directory), then]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, **how)  # type: ignore[call-overload]
    assert process.stdout.readline() == "started\n"
    return process


def test_a_killed_parent_leaves_no_process(tmp_path: Path, processes_of: Found, gone: Check):
    process = starter(tmp_path)
    assert len(processes_of(tmp_path)) >= 4  # the starter and, at least, two servers and two guards
    process.kill()
    process.wait()
    assert gone(tmp_path)


def test_a_killed_parent_leaves_no_process_though_a_forked_copy_of_it_lives_on(tmp_path: Path, processes_of: Found):
    process = starter(tmp_path, "import os; child = os.fork(); child and print(child, flush=True); time.sleep(600)")
    copy = int(process.stdout.readline())
    process.kill()
    process.wait()
    try:
        time.sleep(2.5)
        assert [left.pid for left in processes_of(tmp_path)] == [copy]
    finally:
        os.kill(copy, signal.SIGKILL)


def test_a_parent_that_forgets_to_stop_leaves_no_process(tmp_path: Path, gone: Check):
    starter(tmp_path, "import os; os._exit(3)").wait()
    assert gone(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
def test_a_killed_guard_takes_its_server_along(tmp_path: Path, processes_of: Found, gone: Check):
    with Postgres(tmp_path, durable=False) as server, Valkey(tmp_path / "valkey"):
        for process in processes_of(tmp_path):
            if "guard.py" in " ".join(process.cmdline()):
                process.kill()
        assert gone(tmp_path)
        server.start()
        assert query(server, "select 1") == 1


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become others")


@as_root
def test_root_runs_postgres_as_nobody_where_user_namespaces_are_forbidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(accounts, "namespaces_allowed", lambda: False)
    accounts.postgres_account.cache_clear()
    try:
        assert tmp_path.parent.stat().st_mode & 0o077 == 0, "the point: nobody but root can enter"
        with Postgres(tmp_path, durable=False) as server:
            assert query(server, "select 1") == 1
            assert server.cluster.owner() == "nobody"
            assert psutil.Process(holder(server.cluster)).uids().effective != 0
            server.kill()
            server.start()
            assert query(server, "select 1") == 1
    finally:
        accounts.postgres_account.cache_clear()


@as_root
def test_data_of_another_user_is_refused_in_one_sentence(tmp_path: Path):
    with Postgres(tmp_path, durable=False) as server:
        pass
    os.chown(server.cluster, 54321, -1)
    with pytest.raises(ServerError, match=r"belongs to user 54321, and PostgreSQL would run as user \d+"):
        server.start()


@pytest.mark.skipif(os.geteuid() == 0 and not accounts.namespaces_allowed(), reason="needs a user namespace")
def test_an_ordinary_user_starts_both(tmp_path: Path, gone: Check):
    ask = "import os; print(os.geteuid(), postgres_account().prefix)"
    code = STARTER.replace("import Postgres", "import Postgres, ServerError").replace(
        "directory =", "from dev.embedded.accounts import postgres_account\ndirectory ="
    )
    become = [sys.executable, "-I", "-S", unprivileged.__file__, "mapped"] if os.geteuid() == 0 else []
    command = [*become, sys.executable, "-c", code, str(tmp_path), ask]
    answer = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    assert answer[0] == "started"
    assert int(answer[1]) != 0
    assert answer[2] == "()"
    assert gone(tmp_path)


@as_root
def test_another_user_of_the_machine_starts_both(gone: Check):
    """With a real change of user, where that user can read the interpreter and this tree."""
    nobody = {"user": 65534, "group": 65534, "extra_groups": []}
    try:
        subprocess.run(
            [sys.executable, "-c", "import dev.embedded"], cwd=ROOT, check=True, capture_output=True, **nobody
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("another user can't read the interpreter or this tree")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        os.chown(directory, 65534, 65534)
        process = starter(directory, **nobody)
        process.kill()
        process.wait()
        assert gone(directory)
