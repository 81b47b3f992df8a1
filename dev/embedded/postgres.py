"""PostgreSQL with its data in a directory of ours."""

import os
import re
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

from dev.embedded.accounts import Account, postgres_account
from dev.embedded.binaries import POSTGRES_MAJOR, postgres_bin
from dev.embedded.pidfile import disown_stale, holder
from dev.embedded.server import Server, ServerError, address
from dev.guarded import Guarded

INITDB_SECONDS = 60.0

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    # Socket paths are limited to 107 bytes, and a temporary directory easily is longer.
    "unix_socket_directories": "",
    # Several web processes, workers and parallel tests, each with its pool.
    "max_connections": "300",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

THROWAWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""Several times as fast, and a power cut ruins the data: for tests."""


class Postgres(Server):
    """A PostgreSQL server with the superuser `postgres` and no password, on loopback only.

    The cluster lies in `data_dir/postgres-18`: the next major version finds no data that it can't read, and
    the old data stays for a dump. It is made on the first start and kept from then on.
    """

    name = "PostgreSQL"
    ready = re.compile(rb"database system is ready to accept connections")
    port_taken = re.compile(rb"could not bind IPv4 address")
    # The fast shutdown. SIGTERM would be the smart one, which waits for every client to leave.
    stop_signal = signal.SIGINT

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        self.data_dir = data_dir.absolute()
        self.cluster = self.data_dir / f"postgres-{POSTGRES_MAJOR}"
        self.durable = durable
        super().__init__(self.data_dir / f"{self.cluster.name}.log")

    @property
    def url(self) -> str:
        """The database `postgres`; others are made beside it."""
        return f"postgresql://postgres@{address(self.port)}/postgres"

    @property
    def bin(self) -> Path:
        """Where `psql`, `pgbench` and `pg_dump` are."""
        return postgres_bin()

    def prepare(self) -> None:
        """Make the cluster if there is none; refuse one that another server or another user holds."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        if not self.cluster.exists():
            self._initdb()
        self._refuse_foreign_cluster()
        if pid := holder(self.cluster):
            raise ServerError(f"Another PostgreSQL (process {pid}) uses {self.cluster}: stop it first.")
        disown_stale(self.cluster)

    def command(self, port: int) -> Sequence[str | Path]:
        """Settings go on the command line: `postgresql.conf` stays as initdb wrote it."""
        settings = {**SETTINGS, **({} if self.durable else THROWAWAY), "port": str(port)}
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return postgres_account().command(self.bin / "postgres", "-D", self.cluster, *options)

    def environment(self) -> dict[str, str]:
        """Without PGDATA, PGPORT, PGOPTIONS … of the shell, and with messages that `ready` can read."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "LC_", "LANG"))}
        return {**kept, "LC_ALL": "C", "TZ": "UTC"}

    def _initdb(self) -> None:
        """Make the cluster beside its place and move it there: a half-made one is never mistaken for data."""
        unfinished = self.cluster.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        account = postgres_account()
        os.chown(unfinished, account.uid, -1)
        with self.log.open("wb") as output:
            command = self._initdb_command(account, unfinished)
            code = Guarded(command, output=output, env=self.environment()).wait(INITDB_SECONDS)
        if code:
            raise ServerError(f"PostgreSQL could not make its data directory {self.cluster}.", self.log)
        unfinished.rename(self.cluster)

    def _initdb_command(self, account: Account, target: Path) -> Sequence[str | Path]:
        """UTF-8 that sorts the same on every machine, whatever locales it has."""
        locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        access = ("--username=postgres", "--auth=trust", "--no-instructions")
        sync = () if self.durable else ("--no-sync",)
        return account.command(self.bin / "initdb", "-D", target, *locale, *access, *sync)

    def _refuse_foreign_cluster(self) -> None:
        owner, wanted = self.cluster.stat().st_uid, postgres_account().uid
        if owner != wanted:
            raise ServerError(
                f"{self.cluster} belongs to user {owner}, and PostgreSQL would run as user {wanted}:"
                " run as its owner, or remove it to begin with empty data."
            )
