"""What the tests of `dev` share: a `make run` to look at, and a look at which processes are left."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

PATIENCE = 8.0

FOREIGN = {"DATABASE_URL", "REDIS_URL", "SECRET_KEY", "PORT", "PBX_DATA_DIR", "WEB_CONCURRENCY", "LOG_FORMAT"}
"""What the environment of a test run must not pass on to a `make run` under test."""


def processes_naming(directory: Path) -> list[psutil.Process]:
    """Processes whose command line names the directory; a zombie has none."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any(str(directory) in word for word in process.cmdline()):
                found.append(process)
    return found


def nothing_is_left_of(directory: Path) -> bool:
    deadline = time.monotonic() + PATIENCE
    while processes_naming(directory):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture
def processes_of() -> Callable[[Path], list[psutil.Process]]:
    return processes_naming


@pytest.fixture
def gone() -> Callable[[Path], bool]:
    return nothing_is_left_of


class Running:
    """A `make run` under test: its lines as they come, and everything that it started."""

    def __init__(self, directory: Path, **environ: str) -> None:
        inherited = {key: value for key, value in os.environ.items() if key not in FOREIGN}
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dev.run"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=directory,
            env={**inherited, "COLUMNS": "200", **environ},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def line(self, pattern: str, seconds: float = 60.0) -> re.Match[str]:
        """The first line with the pattern, as soon as it is there."""
        deadline = time.monotonic() + seconds
        going_on = True
        while going_on and time.monotonic() < deadline:
            going_on = self._reader.is_alive()  # before the look, or a last line could slip through
            for line in list(self.lines):
                if match := re.search(pattern, line):
                    return match
            time.sleep(0.01)
        pytest.fail(f"no line with {pattern!r} in:\n{self.text}")

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def up(self) -> "Running":
        self.line("Ctrl-C ends everything")
        self.line("waiting for webhooks")
        return self

    def everything(self) -> list[psutil.Process]:
        """The supervisor's descendants, also those in sessions of their own."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def exit_code(self, seconds: float = 10.0) -> int:
        code = self.process.wait(seconds)
        self._reader.join(seconds)
        return code

    def stop(self) -> int:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        return self.exit_code()


def are_gone(processes: list[psutil.Process], seconds: float = PATIENCE) -> bool:
    return not psutil.wait_procs(processes, seconds)[1]


@pytest.fixture
def run() -> Iterator[Callable[..., Running]]:
    """Starts `make run`s, and ends what a failed test leaves of them."""
    started: list[Running] = []

    def start(directory: Path, **environ: str) -> Running:
        started.append(Running(directory, **environ))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.stop()


@pytest.fixture
def all_gone() -> Callable[[list[psutil.Process]], bool]:
    return are_gone
