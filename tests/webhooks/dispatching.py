"""A dispatcher in a process of its own, to be killed: `python -m tests.webhooks.dispatching DATABASE_URL [TIMEOUT]`."""

from __future__ import annotations

import ipaddress
import signal
import sys
import threading

from sqlalchemy.engine import make_url

from service.config import Config
from service.db.engine import make_engine
from service.webhooks.dispatch import dispatch


def main(database_url: str, timeout: str = "30") -> None:
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    config = Config(
        database_url=make_url(database_url),
        redis_url="redis://unused",
        secret_key="unused by a dispatcher, which signs with the endpoints' own",
        webhook_allow_networks=(ipaddress.ip_network("127.0.0.0/8"),),
        webhook_timeout=float(timeout),
    )
    while not told.is_set():
        dispatch(make_engine(config, pool_size=2), config, stop=told.is_set)


main(*sys.argv[1:])
