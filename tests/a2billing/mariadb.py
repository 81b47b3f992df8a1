"""A MariaDB of the tests: small, fast, without a password, on loopback, and gone with its directory."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from dev.embedded.server import Server, ServerError, address

INSTALL = shutil.which("mariadb-install-db")
SERVER = shutil.which("mariadbd") or shutil.which("mysqld")


class MariaDB(Server):
    """A server with the superuser `root`; nothing of it survives a crash, nor has to."""

    name = "MariaDB"
    ready = re.compile(rb"ready for connections")
    port_taken = re.compile(rb"Address already in use")
    stop_signal = signal.SIGTERM

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        data_dir.mkdir(parents=True, exist_ok=True)
        super().__init__(data_dir / "mariadb.log")

    @property
    def url(self) -> str:
        return f"mysql://root@{address(self.port)}/mysql"

    def prepare(self) -> None:
        options = ["--no-defaults", f"--datadir={self.data_dir / 'data'}", "--auth-root-authentication-method=normal"]
        options += ["--skip-test-db", "--skip-name-resolve", *_as_root()]
        done = subprocess.run([INSTALL, *options], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServerError(f"MariaDB could not make its data directory: {done.stdout}{done.stderr}")

    def command(self, port: int) -> Sequence[str | Path]:
        return [
            SERVER, "--no-defaults", f"--datadir={self.data_dir / 'data'}", f"--port={port}",
            "--bind-address=127.0.0.1", f"--socket={self.data_dir / 's'}", f"--pid-file={self.data_dir / 'pid'}",
            "--skip-name-resolve", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=0", "--skip-innodb-doublewrite",
            "--innodb-buffer-pool-size=32M", "--key-buffer-size=8M", "--performance-schema=OFF",
            "--default-time-zone=+00:00", *_as_root(),
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        return {**os.environ, "LC_ALL": "C"}


def _as_root() -> list[str]:
    return ["--user=root"] if os.geteuid() == 0 else []
