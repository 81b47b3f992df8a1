"""`make run`: the whole service with demo data on this machine, from one command.

    python -m dev.run

Servers, then the release line, then demo data, then every process of the Procfile, then one screen and one
log. Whatever ends it (Ctrl-C, SIGTERM, a process that fails, `kill -9`), nothing is left running: every child
stands under a guard of its own (`dev/guard.py`), so the orderly way below is the fast way, not the only one.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NoReturn

from dev import procfile, screen
from dev.commands import Commands
from dev.demo import Demo
from dev.embedded import Postgres, ServerError, Valkey
from dev.embedded.server import Server
from dev.environment import ROOT, complete, data_dir, kept_for, web_port
from dev.errors import RunError
from dev.fleet import Fleet
from dev.kept import Kept
from dev.log import Log, silence
from dev.subscriber import SECRETS
from dev.web import Web

SUBSCRIBER = "subscriber"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
WEB_SECONDS = 60.0
POLL_SECONDS, WATCH_SECONDS = 0.05, 0.5
SERVER_STOP_SECONDS = 1.2
"""For the servers, after the processes: PostgreSQL recovers by itself if that was too short."""

VARIABLES = """environment:
  PORT                    port of the web process (8000)
  DATABASE_URL            a PostgreSQL of yours instead of the embedded one
  REDIS_URL               a Redis of yours instead of the embedded one
  SECRET_KEY              signs tokens; made once and kept with the data unless set
  PBX_DATA_DIR            where data and logs of the servers are kept (.data)
  WEB_CONCURRENCY, LOG_FORMAT, WEBHOOK_ALLOW_NETWORKS and all others of the service
                          are passed on to it

Ctrl-C ends everything. The data stays; remove .data to begin anew."""


def main() -> int:
    """Run until told to stop (0), or until something fails (1, after one sentence)."""
    argparse.ArgumentParser(
        prog="make run",
        description="Start the whole service with demo data on this machine.",
        epilog=VARIABLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    _interrupt_on(*STOP_SIGNALS)
    try:
        with suppress(KeyboardInterrupt), ExitStack() as ending:
            try:
                _run(os.environ, ending)
            finally:
                _ignore(*STOP_SIGNALS)  # a nervous second Ctrl-C would break off the ending
    except (RunError, ServerError) as error:
        print(f"make run: {error}", file=sys.stderr, flush=True)
        return 1
    except BrokenPipeError:
        silence()
    return 0


def _interrupt_on(*signals: signal.Signals) -> None:
    """Every way to say 'stop' is a KeyboardInterrupt, even where a shell started us with SIGINT ignored."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for number in signals:
        signal.signal(number, interrupt)


def _ignore(*signals: signal.Signals) -> None:
    for number in signals:
        signal.signal(number, signal.SIG_IGN)


def _run(environ: Mapping[str, str], ending: ExitStack) -> None:
    """Bring everything up, show the screen, watch. `ending` takes it down again, in the opposite order."""
    web = Web(web_port(environ))
    processes = procfile.read(ROOT / "Procfile")
    data = data_dir(environ)
    postgres, valkey = _servers(environ, data, ending)
    database_url = postgres.url if postgres else environ["DATABASE_URL"]
    redis_url = valkey.url if valkey else environ["REDIS_URL"]
    environ = complete(environ, web.port, database_url, redis_url, Kept(data))

    commands = Commands(environ, ROOT)
    screen.step(f"Preparing the database: {processes[procfile.RELEASE]}, flask demo load")
    commands.shell(processes.pop(procfile.RELEASE))
    commands.flask("demo", "load")

    screen.step(f"Starting {', '.join(processes)}")
    fleet = _fleet(processes, environ, ending)
    _await_web(web, fleet)
    kept = kept_for(data, None if postgres else database_url)
    api_key, subscriber = Demo(commands, kept, web).credentials()
    fleet.start(SUBSCRIBER, f"python -m dev.subscriber {subscriber.port}", {SECRETS: subscriber.secret})
    screen.show(web.url, api_key, database_url, data)
    fleet.log.open()
    _watch(fleet, [server for server in (postgres, valkey) if server])


def _servers(environ: Mapping[str, str], data: Path, ending: ExitStack) -> tuple[Postgres | None, Valkey | None]:
    """The embedded servers that are needed: none that the caller's environment names one for."""
    postgres = None if environ.get("DATABASE_URL") else Postgres(data)
    valkey = None if environ.get("REDIS_URL") else Valkey(data / "valkey")
    for server in (postgres, valkey):
        if server:
            screen.step(f"Starting {server.name}")
            ending.callback(server.stop, SERVER_STOP_SECONDS)
            server.start()
    return postgres, valkey


def _fleet(processes: Mapping[str, str], environ: Mapping[str, str], ending: ExitStack) -> Fleet:
    """Start the Procfile's processes. Their lines are held until the screen stands, or until all ends."""
    fleet = Fleet(Log([*processes, SUBSCRIBER]), environ, ROOT)
    ending.callback(fleet.stop)
    ending.callback(fleet.log.open)
    for name, command in processes.items():
        fleet.start(name, command)
    return fleet


def _await_web(web: Web, fleet: Fleet) -> None:
    deadline = time.monotonic() + WEB_SECONDS
    while not web.is_up():
        _refuse_an_end(fleet, POLL_SECONDS)
        if time.monotonic() > deadline:
            raise RunError(f"{web.url}/healthz did not answer 200 within {WEB_SECONDS:.0f} seconds.")


def _watch(fleet: Fleet, servers: Sequence[Server]) -> NoReturn:
    """Return never: what ends this is a signal, or the end of something that should run."""
    while True:
        _refuse_an_end(fleet, WATCH_SECONDS)
        for server in servers:
            if server.exit_code is not None:
                code = server.exit_code
                raise RunError(f"{server.name} ended unexpectedly with code {code}: see {server.log}")


def _refuse_an_end(fleet: Fleet, seconds: float) -> None:
    """Wait so long for a process to end, and hope that none does."""
    if ended := fleet.first_end(seconds):
        name, code = ended
        raise RunError(f"{name} ended unexpectedly with code {code}, so everything else was ended, too.")


if __name__ == "__main__":
    sys.exit(main())
