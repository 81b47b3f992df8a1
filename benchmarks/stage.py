"""Where the measurements take place: durable embedded servers, a migrated database with demo customers, processes."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import requests
from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from dev import procfile
from dev.embedded import Postgres, Valkey
from dev.embedded.ports import free_port
from dev.guarded import Guarded
from service.access.keys import create_key, find_client
from service.config import Config
from service.db.engine import make_engine

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
SECRET = "a secret of the benchmark, long enough to be one"  # noqa: S105  of a database that lives for a minute
STARTUP = 30.0  # seconds


@dataclass
class Stage:
    """Servers, and the environment of processes that use them."""

    postgres: Postgres
    valkey: Valkey
    environ: dict[str, str]
    stack: ExitStack

    @property
    def config(self) -> Config:
        """The settings of this process on this stage."""
        return Config(make_url(self.environ["DATABASE_URL"]), self.environ["REDIS_URL"], SECRET)

    def engine(self) -> Engine:
        """An engine of our own."""
        engine = make_engine(self.config)
        self.stack.callback(engine.dispose)
        return engine

    def run(self, command: str, **extra: str) -> str:
        """Run a command to its end; what it printed."""
        words, environ = shlex.split(command), {**self.environ, **extra}
        return subprocess.run(
            [BIN / words[0], *words[1:]], env=environ, cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout

    def start(self, command: str, **extra: str) -> Guarded:
        """Start a process that ends with the stage, at the latest."""
        with (Path(self.environ["TMPDIR"]) / "log").open("ab") as log:
            process = Guarded(["/bin/sh", "-c", f"exec {command}"], output=log, env={**self.environ, **extra}, cwd=ROOT)
        self.stack.callback(process.stop)
        return process

    def start_line(self, name: str) -> Guarded:
        """Start a line of the Procfile."""
        return self.start(procfile.read(ROOT / "Procfile")[name])

    def start_web(self, command: str = "gunicorn wsgi:app", ready: str = "/healthz", **extra: str) -> int:
        """Start a web process of two workers; its port, once it answers."""
        port = free_port()
        self.start(command, BIND=f"127.0.0.1:{port}", WEB_CONCURRENCY="2", **extra)
        deadline = time.monotonic() + STARTUP
        while time.monotonic() < deadline:
            with suppress(requests.RequestException):
                requests.get(f"http://127.0.0.1:{port}{ready}", timeout=1)
                return port
            time.sleep(0.05)
        raise TimeoutError(f"{command} does not answer; see {self.environ['TMPDIR']}/log")

    def token(self, port: int) -> str:
        """A token for the demo client."""
        engine = self.engine()
        return token_for(port, create_key(engine, find_client(engine, "demo"))[1])


def token_for(port: int, key: str) -> str:
    """A token for an API key."""
    answer = requests.post(f"http://127.0.0.1:{port}/v1/auth/token", json={"api_key": key}, timeout=10)
    return str(answer.json()["data"]["token"])


@contextmanager
def stage() -> Iterator[Stage]:
    """A stage with the demo's customers. Postgres writes durably, as in earnest."""
    with ExitStack() as stack:
        scratch = Path(tempfile.mkdtemp(prefix="pbx-bench-"))
        scratch.chmod(0o711)
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        postgres = stack.enter_context(Postgres(scratch / "postgres"))
        valkey = stack.enter_context(Valkey(scratch / "valkey"))
        environ = {
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "TMPDIR": str(scratch),
            "DATABASE_URL": postgres.url,
            "REDIS_URL": valkey.url,
            "SECRET_KEY": SECRET,
            "LOG_LEVEL": "INFO",
            "WEBHOOK_ALLOW_NETWORKS": "127.0.0.0/8",
        }
        made = Stage(postgres, valkey, environ, stack)
        made.run("alembic upgrade head")
        made.run("flask demo load")
        yield made
