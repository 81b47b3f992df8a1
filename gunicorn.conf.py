"""How gunicorn serves the API on a Heroku-style platform; `gunicorn wsgi:app` finds this file by itself.

gthread: survives a second SIGTERM with requests still queued, where the sync worker resets them.
"""

import os
import shutil
import signal
import socket
import tempfile
from pathlib import Path
from typing import Any

# prometheus_client decides when it is first imported whether processes share their figures, and where.
METRICS = os.environ.get("PROMETHEUS_MULTIPROC_DIR") or tempfile.mkdtemp(prefix="pbx-metrics-")
os.environ["PROMETHEUS_MULTIPROC_DIR"] = METRICS

from prometheus_client import multiprocess  # noqa: E402

from service import logs  # noqa: E402
from service.config import Config  # noqa: E402
from service.db.engine import make_engine  # noqa: E402
from service.db.schema import require_current  # noqa: E402
from service.errors import Misconfigured  # noqa: E402


def _any_address(port: str) -> str:
    """Every interface; both families where there is IPv6."""
    return f"[::]:{port}" if socket.has_dualstack_ipv6() else f"0.0.0.0:{port}"


def _count(name: str, default: str) -> int:
    text = os.environ.get(name, default)
    if not text.isdecimal() or int(text) < 1:
        raise Misconfigured(f"pbx-ledger: {name} must be a whole number of at least 1")
    return int(text)


bind = os.environ.get("BIND") or _any_address(os.environ.get("PORT", "8000"))
worker_class = "gthread"
workers = _count("WEB_CONCURRENCY", "2")  # gunicorn reads it as well, before us
threads = _count("WEB_THREADS", "8")  # the database pool of a process is as large by default
graceful_timeout = 20  # the platform kills after 30 s
timeout = 30
keepalive = 100  # longer than the router's own 90 s, so that the router never meets a closed connection
max_requests = 0
control_socket_disable = True  # nothing here uses it
errorlog = "-"
loglevel = "warning"
accesslog = None  # service/api/request_log.py writes one line a request


def on_starting(_server: Any) -> None:
    """Before anything is forked: refuse to run misconfigured, and give the processes a place to share their metrics."""
    config = Config.from_environ()
    logs.configure(config)
    engine = make_engine(config, pool_size=1)
    require_current(engine)
    engine.dispose()
    Path(METRICS).mkdir(parents=True, exist_ok=True)


def on_exit(_server: Any) -> None:
    """The platform sends SIGTERM again and again: what comes now must not turn a clean end into a killed one."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    shutil.rmtree(METRICS, ignore_errors=True)


def child_exit(_server: Any, worker: Any) -> None:
    """Let go of a dead process's gauges."""
    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
