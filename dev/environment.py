"""The environment that `make run` gives the service: the caller's own, completed."""

import errno
import hashlib
import os
import secrets
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from dev.embedded.ports import LOOPBACK
from dev.errors import RunError
from dev.kept import Kept

ROOT = Path(__file__).parents[1]
DEFAULT_PORT = "8000"
FIRST_ORDINARY_PORT, HIGHEST_PORT = 1024, 65_535
KNOCK_SECONDS = 0.5


def data_dir(environ: Mapping[str, str]) -> Path:
    """Where everything lies that a run leaves behind; removing it begins anew."""
    return Path(environ.get("PBX_DATA_DIR") or ROOT / ".data").absolute()


def web_port(environ: Mapping[str, str]) -> int:
    """PORT, if the web process can have it. Raises RunError with the way out."""
    text = environ.get("PORT") or DEFAULT_PORT
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= HIGHEST_PORT):
        raise RunError(f"PORT is {text!r}, which is no port number; choose one: PORT=8001 make run")
    refusal = _refusal(int(text))
    if refusal:
        raise RunError(f"Port {text} {refusal}; choose another: PORT={_other(int(text))} make run")
    return int(text)


def _refusal(port: int) -> str | None:
    """Why nothing can listen on the port.

    Knocking comes first: on macOS a listener on one address doesn't keep another from listening on all.
    """
    try:
        socket.create_connection((LOOPBACK, port), KNOCK_SECONDS).close()
    except OSError:
        return _bind_refusal(port)
    return "is already in use"


def _bind_refusal(port: int) -> str | None:
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("", port))
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        return "is already in use" if taken else f"can't be opened ({os.strerror(error.errno or 0)})"
    return None


def _other(port: int) -> int:
    return port + 1 if FIRST_ORDINARY_PORT <= port < HIGHEST_PORT else int(DEFAULT_PORT) + 1


def complete(environ: Mapping[str, str], port: int, database_url: str, redis_url: str, kept: Kept) -> dict[str, str]:
    """What the caller set is kept; what the service needs beyond that is added."""
    return {
        "LOG_FORMAT": "console",
        "WEBHOOK_ALLOW_NETWORKS": "127.0.0.0/8",
        "WEB_CONCURRENCY": "2",
        "BIND": f"{LOOPBACK}:{port}",  # a demo is nobody else's on the network
        **environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), environ.get("PATH", os.defpath)]),
        # Our pipes are no terminals: Python would hold lines back until it has a few thousand characters.
        "PYTHONUNBUFFERED": "1",
        "PORT": str(port),
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "SECRET_KEY": environ.get("SECRET_KEY") or kept.once("secret-key", secrets.token_urlsafe(48)),
    }


def kept_for(data: Path, database_url: str | None) -> Kept:
    """Where the demo's key and subscriber are kept: apart for every database that isn't ours."""
    if not database_url:
        return Kept(data)
    return Kept(data / f"database-{hashlib.sha256(database_url.encode()).hexdigest()[:8]}")
