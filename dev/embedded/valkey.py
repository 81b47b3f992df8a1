"""Valkey as this project uses Redis: on loopback, in memory, nothing kept."""

import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path

from dev.embedded.binaries import valkey_server
from dev.embedded.server import Server, address

DATABASES = 64
"""One per test process; the default of 16 is fewer than a large machine's cores."""


class Valkey(Server):
    """A Valkey server; `directory` holds its log and nothing else.

    Persistence is off on purpose: what Redis holds here may be lost at any moment, and a development server
    that kept it would hide code that depends on it.
    """

    name = "Valkey"
    ready = re.compile(rb"Ready to accept connections")
    port_taken = re.compile(rb"Address already in use")
    stop_signal = signal.SIGTERM

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        super().__init__(self.directory / "valkey.log")

    @property
    def url(self) -> str:
        """Database 0; other numbers (up to 63) are free to use."""
        return f"redis://{address(self.port)}/0"

    def prepare(self) -> None:
        """Make the directory."""
        self.directory.mkdir(parents=True, exist_ok=True)

    def command(self, port: int) -> Sequence[str | Path]:
        """No configuration file is read: none of the machine's can interfere."""
        options = {
            "bind": "127.0.0.1",
            "port": str(port),
            "dir": str(self.directory),
            "save": "",
            "appendonly": "no",
            "databases": str(DATABASES),
        }
        return [valkey_server(), *(word for key, value in options.items() for word in (f"--{key}", value))]

    def environment(self) -> dict[str, str]:
        """As it is."""
        return dict(os.environ)
