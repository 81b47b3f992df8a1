"""As whom PostgreSQL runs.

It refuses root, and containers love root. `dev/embedded/unprivileged.py` knows two ways out; this module
probes once which of them the machine allows. Nothing on the machine is changed for it: no user is made, no
directory opened up.
"""

import functools
import os
import pwd
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.embedded import unprivileged


@dataclass(frozen=True)
class Account:
    """A way to run a command: the words that go before it, and the owner that its files have on disk."""

    prefix: tuple[str, ...]
    uid: int

    def command(self, *words: str | Path) -> Sequence[str | Path]:
        """The command as this account runs it."""
        return [*self.prefix, *words]


@functools.cache
def postgres_account() -> Account:
    """Ourselves; for root a mapped user namespace, or `nobody` where those are forbidden (as in Docker)."""
    if os.geteuid() != 0:
        return Account((), os.geteuid())
    if namespaces_allowed():
        return Account(_prefix("mapped"), 0)
    return Account(_prefix("nobody"), pwd.getpwnam("nobody").pw_uid)


def namespaces_allowed() -> bool:
    """Whether this process may make a user namespace; seccomp, sysctl or LSM may each forbid it, so try."""
    probe = [*_prefix("mapped"), "true"]
    return subprocess.run(probe, check=False, capture_output=True).returncode == 0


def _prefix(way: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", unprivileged.__file__, way)
