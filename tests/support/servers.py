"""The servers under the tests: embedded ones, or those that TEST_DATABASE_URL and TEST_REDIS_URL name.

The process that steers the test run starts them and migrates one template database; each test process copies it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config as AlembicConfig
from psycopg import sql
from sqlalchemy import NullPool, create_engine
from sqlalchemy.engine import make_url

from dev.embedded import Postgres, Valkey

ROOT = Path(__file__).resolve().parents[2]
DATABASE, REDIS, TEMPLATE = "TEST_DATABASE_URL", "TEST_REDIS_URL", "PBX_TEST_TEMPLATE"


@contextmanager
def running() -> Iterator[None]:
    """Have servers and a migrated template for as long as the block lasts; the environment names them."""
    with ExitStack() as stack:
        scratch = Path(tempfile.mkdtemp(prefix="pbx-test-"))
        scratch.chmod(0o711)
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        if not os.environ.get(DATABASE):
            postgres = stack.enter_context(Postgres(scratch / "postgres", durable=False))
            stack.enter_context(_named(DATABASE, postgres.url))
        if not os.environ.get(REDIS):
            valkey = stack.enter_context(Valkey(scratch / "valkey"))
            stack.enter_context(_named(REDIS, valkey.url))
        template = f"pbx_test_{os.getpid()}"
        stack.enter_context(_named(TEMPLATE, template))
        stack.enter_context(_database(template))
        migrate(url_of(template))
        yield


@contextmanager
def copied(name: str) -> Iterator[str]:
    """The URL of a fresh copy of the template, for as long as the block lasts."""
    with _database(name, template=os.environ[TEMPLATE]):
        yield url_of(name)


@contextmanager
def empty(name: str) -> Iterator[str]:
    """The URL of a database without any schema."""
    with _database(name):
        yield url_of(name)


def migrate(url: str, revision: str = "head") -> None:
    """Bring a database up to a revision."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection, connection.begin():
        config = AlembicConfig(str(ROOT / "alembic.ini"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def url_of(name: str) -> str:
    """The URL of a database of the test server."""
    url = make_url(os.environ[DATABASE]).set(drivername="postgresql+psycopg", database=name)
    return url.render_as_string(hide_password=False)


def redis_url(number: int) -> str:
    """The URL of a Redis database of the test server."""
    return f"{os.environ[REDIS].rstrip('/').removesuffix('/0')}/{number}"


@contextmanager
def _database(name: str, template: str = "template0") -> Iterator[None]:
    _administer("CREATE DATABASE {} TEMPLATE {}", name, template)
    try:
        yield
    finally:
        _administer("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


def _administer(statement: str, *names: str) -> None:
    with psycopg.connect(os.environ[DATABASE].replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@contextmanager
def _named(variable: str, value: str) -> Iterator[None]:
    os.environ[variable] = value
    try:
        yield
    finally:
        del os.environ[variable]
