"""The running processes of `make run`: started under guard, their lines in one log, ended together."""

import queue
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

from dev.guarded import Guarded
from dev.log import Log

GRACE = 3.5
"""Seconds from SIGTERM to SIGKILL: with the servers' share after it, a Ctrl-C stays within five."""


class Fleet:
    """Processes that stand and fall together."""

    def __init__(self, log: Log, environ: Mapping[str, str], directory: Path) -> None:
        self.log, self.environ, self.directory = log, environ, directory
        self._members: dict[str, Guarded] = {}
        self._ended: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()

    def start(self, name: str, command: str, extra: Mapping[str, str] | None = None) -> None:
        """Start a Procfile command.

        A shell reads it, as on a platform, and becomes it: a shell in between would take the SIGTERM for
        itself.
        """
        member = Guarded(
            ["/bin/sh", "-c", f"exec {command}"],
            output=subprocess.PIPE,
            env={**self.environ, **(extra or {})},
            cwd=self.directory,
            grace=GRACE,
        )
        self._members[name] = member
        threading.Thread(target=self._follow, args=(name, member), daemon=True).start()

    def first_end(self, seconds: float) -> tuple[str, int] | None:
        """Name and exit code of a process that ended, or None if all have been running for so long."""
        try:
            return self._ended.get(timeout=seconds)
        except queue.Empty:
            return None

    def stop(self) -> None:
        """End all at once: SIGTERM, and SIGKILL for who is still there after GRACE."""
        for member in self._members.values():
            member.ask_to_stop()
        for member in self._members.values():
            member.stop()

    def _follow(self, name: str, member: Guarded) -> None:
        """Pass lines on. The guard holds the pipe as well: its end means that nothing of the process is
        left."""
        assert member.process.stdout is not None
        for line in member.process.stdout:
            self.log.line(name, line.decode(errors="replace").rstrip("\r\n"))
        self._ended.put((name, member.process.wait()))
