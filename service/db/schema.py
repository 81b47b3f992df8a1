"""Is the database at the schema version that this code was written for?"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from service.db.transaction import reading
from service.errors import Misconfigured, Unavailable

ROOT = Path(__file__).resolve().parents[2]


@cache
def expected_version() -> str:
    """The newest migration beside this code."""
    head = ScriptDirectory.from_config(AlembicConfig(str(ROOT / "alembic.ini"))).get_current_head()
    assert head is not None
    return head


def current_version(engine: Engine) -> str | None:
    """The migration that the database is at; None for an empty database. Raises Unavailable."""
    with reading(engine) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def is_current(version: str | None) -> bool:
    """Whether this code can work at a schema version: its own, or a newer one.

    Migrations only add until no running code needs what they take away, so code that a release has just replaced, or
    that it was rolled back to, must go on working with the schema of the newer one.
    """
    return version is not None and _number(version) >= _number(expected_version())


def require_current(engine: Engine) -> None:
    """End the process with a sentence if the schema is too old, or if there is no database at all."""
    current = require_reachable(engine)
    if not is_current(current):
        raise Misconfigured(
            f"pbx-ledger: the database is at schema version {current or 'none'}, "
            f"this code needs {expected_version()}: run `alembic upgrade head`"
        )


def require_reachable(engine: Engine) -> str | None:
    """The schema version, or the end of the process with a sentence if there is no database to ask."""
    try:
        return current_version(engine)
    except Unavailable as error:
        raise Misconfigured(f"pbx-ledger: the database cannot be reached: {_reason(error)}") from None


def _number(version: str) -> int:
    """7, from `0007_holds`."""
    digits = version.partition("_")[0]
    return int(digits) if digits.isdecimal() else 0


def _reason(error: Unavailable) -> str:
    """The driver's own first line, which names host and port but never the password."""
    cause = getattr(error.__cause__, "orig", None)
    return str(cause).splitlines()[0] if cause else str(error)
