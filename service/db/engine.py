"""One SQLAlchemy engine per process.

No `pool_pre_ping`: it would double the round trips of a credit change. A connection that died while it lay in the pool
is noticed by its first statement instead, and `service.db.transaction` says how that is survived.
"""

from __future__ import annotations

from sqlalchemy import Engine, create_engine

from service.config import Config

CONNECT_TIMEOUT = 3  # seconds: long enough for a busy server, short enough to answer 503 before a router gives up
POOL_TIMEOUT = 5  # seconds that a thread waits for a connection of its own process's pool


def make_engine(config: Config, *, pool_size: int | None = None) -> Engine:
    """An engine for this process: `pool_size` connections at most, none opened before it is needed."""
    return create_engine(
        config.database_url,
        pool_size=pool_size or config.database_pool_size,
        isolation_level="AUTOCOMMIT",  # a statement is a transaction, unless service.db.transaction says otherwise
        max_overflow=0,
        hide_parameters=True,  # an error that is logged names the statement, never the values
        pool_timeout=POOL_TIMEOUT,
        pool_use_lifo=True,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT,
            # A network that swallows packets must not hold a thread for ever: the system gives up after about 12 s.
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,  # milliseconds
            # PgBouncer in transaction mode hands each statement to another server: nothing may be prepared there.
            "prepare_threshold": 5 if config.database_prepared_statements else None,
        },
    )
