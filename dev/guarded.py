"""A child process that ends with us, even if we are killed with -9; see `dev/guard.py` for how and why."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from dev import guard

MARGIN = 2.0
"""Seconds beyond its grace that a guard has to kill, sweep and exit."""


class Guarded:
    """One running command under its guard.

    `stop_signal` asks it to end, SIGKILL follows `grace` seconds later. `output` takes what it writes to
    either stream.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        output: int | IO[bytes],
        errors: int | IO[bytes] = subprocess.STDOUT,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        grace: float = 5.0,
    ) -> None:
        self.grace = grace
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                guard.__file__,
                str(int(stop_signal)),
                str(grace),
                *map(str, command),
            ],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=errors,
            env=env,
            cwd=cwd,
            start_new_session=True,
            bufsize=0,
        )

    @property
    def exit_code(self) -> int | None:
        """The command's exit code (128 + n after signal n), or None while it runs."""
        return self.process.poll()

    def ask_to_stop(self) -> None:
        """Send the stop signal and don't wait; asking twice does no harm."""
        self._order(guard.STOP)

    def stop(self, within: float | None = None) -> int:
        """Ask, wait so many seconds (the grace), kill; returns the exit code. Nothing of the command is
        left."""
        self.ask_to_stop()
        return self.wait(self.grace if within is None else within)

    def kill(self) -> int:
        """End the command by SIGKILL, as a crash would."""
        self._order(guard.KILL)
        return self._wait(MARGIN)

    def wait(self, seconds: float) -> int:
        """Let the command end by itself; after so many seconds it is killed."""
        try:
            return self._wait(seconds)
        except subprocess.TimeoutExpired:
            return self.kill()

    def _order(self, order: bytes) -> None:
        with contextlib.suppress(BrokenPipeError, ValueError):  # it has ended by itself
            self._pipe.write(order)

    def _wait(self, seconds: float) -> int:
        code = self.process.wait(seconds)
        self._pipe.close()
        return code

    @property
    def _pipe(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin
