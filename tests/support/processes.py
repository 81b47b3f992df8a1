"""Real processes of the service, as the Procfile starts them, for tests that kill them."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0


def until(condition: Callable[[], Any], seconds: float = PATIENCE, what: str = "") -> Any:
    """Wait for something to become true, and return it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s: {what or condition}")


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Processes:
    """Starts processes with one environment, and ends those that are left."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.port = free_port()
        self.log = log
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("PROMETHEUS")},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "BIND": f"127.0.0.1:{self.port}",
            "WEB_CONCURRENCY": "1",
            **environment,
        }
        self.started: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Start a line of the Procfile."""
        lines = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
        with self.log_of(name).open("ab") as log:
            process = subprocess.Popen(
                shlex.split(lines[name]), cwd=ROOT, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        self.started.append(process)
        return process

    def log_of(self, name: str) -> Path:
        """Where the processes of a Procfile line write."""
        return self.log.with_name(f"{self.log.name}.{name}")

    def start_web(self) -> subprocess.Popen[bytes]:
        """Start the web process and wait until it answers."""
        process = self.start("web")
        until(self._healthy, what=f"the web process answers; {self.log_of('web')}")
        return process

    def _healthy(self) -> bool:
        try:
            return requests.get(f"{self.url}/healthz", timeout=1).ok
        except requests.RequestException:
            return False

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """kill -9, children included."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def end(self) -> None:
        """Leave nothing behind."""
        for process in self.started:
            if process.poll() is None:
                self.kill(process)
