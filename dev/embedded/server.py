"""What every embedded server has in common: a port, a log, a guard, and a beginning that can fail clearly."""

import re
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Self

from dev.embedded.ports import LOOPBACK, free_port
from dev.guarded import Guarded

LOG_TAIL = 12
"""Lines of a server's log that an error shows."""

PORT_TRIES = 5
"""Ports to try: between finding one free and listening on it, another process may take it."""

START_SECONDS = 60.0
"""A crash recovery on a slow disk passes; a hanging start does not."""

POLL = 0.01


class ServerError(Exception):
    """An embedded server could not do what was asked: one sentence, and the end of the server's log if it has
    one."""

    def __init__(self, sentence: str, log: Path | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.log_tail = tail(log) if log else ""

    def __str__(self) -> str:
        return f"{self.sentence}\n{self.log_tail}".rstrip()


class PortTakenError(Exception):
    """Somebody was faster; choose another port."""


class Server(ABC):
    """A server on 127.0.0.1 that belongs to this process.

    Readiness is read from its own log, not from the port: a port that answers may be somebody else's server.
    """

    name: ClassVar[str]
    ready: ClassVar[re.Pattern[bytes]]
    port_taken: ClassVar[re.Pattern[bytes]]
    stop_signal: ClassVar[signal.Signals]
    grace: ClassVar[float] = 5.0

    def __init__(self, log: Path) -> None:
        self.log = log
        self.port = 0
        self._guarded: Guarded | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients connect."""

    @abstractmethod
    def prepare(self) -> None:
        """Make what the server needs before its first line runs."""

    @abstractmethod
    def command(self, port: int) -> Sequence[str | Path]:
        """The command line."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """The server's environment: nothing of ours may change what it does."""

    def start(self) -> Self:
        """Start and wait until it takes connections; the port of an earlier start is kept.

        Raises ServerError with the reason and the tail of the log.
        """
        if self.exit_code is None and self._guarded:
            return self
        self.prepare()
        for port in self._ports():
            try:
                self._launch(port)
            except PortTakenError:
                continue
            self.port = port
            return self
        taken = f": {self.port} is taken" if self.port else ""
        raise ServerError(f"{self.name} found no free port{taken}.", self.log)

    def stop(self, within: float | None = None) -> None:
        """End it in good order: clients are cut off, what was committed is on disk.

        After so many seconds (5) it is killed, which PostgreSQL survives as it survives a crash.
        """
        if self._guarded:
            self._guarded.stop(within)

    def kill(self) -> None:
        """End it by SIGKILL, as a crash or a pulled plug would."""
        if self._guarded:
            self._guarded.kill()

    def ask_to_stop(self) -> None:
        """Begin a stop and don't wait for its end."""
        if self._guarded:
            self._guarded.ask_to_stop()

    @property
    def exit_code(self) -> int | None:
        """How the server ended, or None: while it runs, and before its first start."""
        return self._guarded.exit_code if self._guarded else None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _ports(self) -> Iterator[int]:
        for _ in range(PORT_TRIES):
            yield self.port or free_port()

    def _launch(self, port: int) -> None:
        with self.log.open("wb") as output:
            self._guarded = Guarded(
                self.command(port),
                output=output,
                env=self.environment(),
                cwd=self.log.parent,
                stop_signal=self.stop_signal,
                grace=self.grace,
            )
        try:
            self._await_ready(self._guarded)
        except BaseException:
            self._guarded.stop()
            raise

    def _await_ready(self, guarded: Guarded) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.ready.search(self.log.read_bytes()):
            if guarded.exit_code is not None:
                raise self._failure()
            if time.monotonic() > deadline:
                raise ServerError(f"{self.name} was not ready after {START_SECONDS:.0f} seconds.", self.log)
            time.sleep(POLL)

    def _failure(self) -> Exception:
        if self.port_taken.search(self.log.read_bytes()):
            return PortTakenError()
        return ServerError(f"{self.name} could not start.", self.log)


def tail(log: Path) -> str:
    """The last lines of a log, or nothing where there is none."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL:])
    except OSError:
        return ""


def address(port: int) -> str:
    """`127.0.0.1:PORT`."""
    return f"{LOOPBACK}:{port}"
