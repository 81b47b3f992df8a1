"""Where transactions begin and end, and where 'the database is away' becomes an error of ours.

`transaction` for a unit that commits or leaves nothing; `single_statement`, where each statement is a transaction of
its own and costs one round trip (`reading` is the same, by the name of what it is mostly used for); `snapshot` where
several statements have to see the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import errors as pg
from sqlalchemy import Connection, Engine
from sqlalchemy import exc as sa

from service.errors import OutcomeUnknown, Unavailable

_TRY_AGAIN = (
    pg.LockNotAvailable,
    pg.QueryCanceled,
    pg.TooManyConnections,
    pg.OutOfMemory,  # of its table of locks
    pg.SerializationFailure,
    pg.DeadlockDetected,
    pg.ReadOnlySqlTransaction,  # a standby that has not been promoted yet
)

_NO_CONNECTION = {None, "57P01", "57P02", "57P03"}  # none was made, or the server ends, crashes, begins


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """A transaction that commits at the end of the block.

    Raises Unavailable when the database cannot do it now; OutcomeUnknown where the answer to the commit was lost.
    """
    with translated(), engine.connect() as connection:
        connection.execution_options(isolation_level="READ COMMITTED")
        with connection.begin() as begun:
            yield connection
            if not begun.is_active:  # the block gave it up itself
                return
            try:
                begun.commit()
            except sa.DBAPIError as error:
                if error.connection_invalidated or _passes(error.orig):
                    raise OutcomeUnknown from error
                raise


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A transaction that only reads, and in which every statement sees the same moment. Raises Unavailable."""
    with translated(), engine.connect() as connection:
        connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with connection.begin():
            yield connection


@contextmanager
def single_statement(engine: Engine) -> Iterator[Connection]:
    """A connection in autocommit: each statement is a transaction of its own, in one round trip."""
    with translated(), engine.connect() as connection:
        yield connection


reading = single_statement


@contextmanager
def translated() -> Iterator[None]:
    """Turn 'the database is away or too busy' into Unavailable; let every other error pass as it is."""
    try:
        yield
    except sa.TimeoutError:
        raise Unavailable from None
    except sa.DBAPIError as error:
        if error.connection_invalidated or _passes(error.orig):
            raise Unavailable from error
        raise
    except pg.Error as error:
        if _passes(error):
            raise Unavailable from error
        raise


def _passes(error: BaseException | None) -> bool:
    """Whether trying again later may help: the connection broke or could not be made, or something was locked."""
    if isinstance(error, _TRY_AGAIN):
        return True
    return isinstance(error, pg.OperationalError) and error.sqlstate in _NO_CONNECTION
