"""The driver's own connection, out of the engine's pool, for the one statement whose cost is counted in microseconds.

SQLAlchemy's execution costs as much again as the driver's; everywhere else that buys comfort, on the hot path of a
credit change it would only be paid. The pool, its limits and its care for broken connections stay SQLAlchemy's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import psycopg
from sqlalchemy import Connection, Engine

from service.errors import Unavailable


class ConnectionLost(Unavailable):
    """The connection broke under a statement: whether it took effect is not known here."""


@contextmanager
def driver_connection(engine: Engine) -> Iterator[psycopg.Connection]:
    """A connection in autocommit. One that breaks is thrown away with all that may have broken with it.

    Raises ConnectionLost where it broke under a statement of the block.
    """
    pooled = engine.raw_connection()
    connection = cast(psycopg.Connection, pooled.driver_connection)
    try:
        yield connection
    except psycopg.OperationalError as error:
        if connection.closed:
            pooled.invalidate(error)
            engine.dispose()
            raise ConnectionLost from error
        raise
    finally:
        if pooled.is_valid:
            pooled.close()


def driver_of(connection: Connection) -> psycopg.Connection:
    """The driver's connection under one of SQLAlchemy's, to do something within its transaction."""
    return cast(psycopg.Connection, connection.connection.driver_connection)
