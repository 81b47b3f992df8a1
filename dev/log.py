"""One readable log from many processes: each line behind the padded, coloured name of who wrote it."""

import os
import re
import signal
import sys
import threading
from collections.abc import Sequence

COLOURS = (36, 32, 35, 33, 34, 95, 96, 92)
"""ANSI foregrounds that can be read on black and on white."""

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


class Log:
    """Writes lines as they come, from any thread; until `open()` it holds them, so that a screen can come
    first."""

    def __init__(self, names: Sequence[str]) -> None:
        self.width = max(map(len, names))
        self.colours = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}
        self.in_colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._lock = threading.Lock()
        self._held: list[str] | None = []

    def line(self, name: str, text: str) -> None:
        """One line that a process wrote, without its end."""
        with self._lock:
            if self._held is None:
                self._print(self._dressed(name, text))
            else:
                self._held.append(self._dressed(name, text))

    def open(self) -> None:
        """Let out what was held, and everything from now on."""
        with self._lock:
            held, self._held = self._held, None
            for line in held or ():
                self._print(line)

    def _dressed(self, name: str, text: str) -> str:
        if not self.in_colour:
            return f"{name:<{self.width}} | {ESCAPE.sub('', text)}"
        return f"\x1b[{self.colours[name]}m{name:<{self.width}} |\x1b[0m {text}"

    def _print(self, line: str) -> None:
        """A reader that went away (`make run | head`) ends the run like a Ctrl-C."""
        try:
            print(line, flush=True)
        except OSError:
            silence()
            os.kill(os.getpid(), signal.SIGTERM)


def silence() -> None:
    """Write to nowhere from now on: nobody reads standard output any more, and each write would fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
