"""An A2Billing to be left behind, in either of its variants, and a ledger to come to."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.engine import make_url

from service.access.keys import create_client
from tests.a2billing import mariadb, schema
from tests.a2billing.old_system import OldSystem, furnish
from tests.support import servers

MARIADB = "TEST_MARIADB_URL"


@pytest.fixture(scope="session")
def mariadb_url() -> Iterator[str]:
    """A MariaDB server: the one that TEST_MARIADB_URL names, or one of our own."""
    if os.environ.get(MARIADB):
        yield os.environ[MARIADB]
        return
    if not (mariadb.INSTALL and mariadb.SERVER):
        pytest.skip(f"neither is MariaDB installed (mariadbd, mariadb-install-db) nor {MARIADB} set")
    with tempfile.TemporaryDirectory(prefix="pbx-mdb-") as directory, mariadb.MariaDB(Path(directory)) as server:
        yield server.url


@contextmanager
def mysql_system(server: str) -> Iterator[OldSystem]:
    name = f"a2b_{uuid.uuid4().hex[:12]}"
    url = make_url(server).set(drivername="mysql+pymysql")
    admin = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} CHARACTER SET utf8"))
        try:
            with OldSystem.at(url.set(database=name)) as system:
                system.run(schema.MYSQL)
                yield system
        finally:
            connection.execute(text(f"DROP DATABASE {name}"))


@contextmanager
def postgres_system() -> Iterator[OldSystem]:
    with servers.empty(f"a2b_{uuid.uuid4().hex[:12]}") as url, OldSystem.at(make_url(url)) as system:
        system.run(schema.POSTGRES)
        yield system


@pytest.fixture
def postgres() -> Iterator[OldSystem]:
    """An empty A2Billing on PostgreSQL."""
    with postgres_system() as system:
        yield system


@pytest.fixture
def mysql(mariadb_url) -> Iterator[OldSystem]:
    """An empty A2Billing on MariaDB."""
    with mysql_system(mariadb_url) as system:
        yield system


@pytest.fixture(params=["postgres", "mysql"])
def old(request) -> OldSystem:
    """An empty A2Billing, once in each variant."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def furnished(old) -> OldSystem:
    """An A2Billing with a little of everything."""
    furnish(old)
    return old


@pytest.fixture
def home(own_engine) -> uuid.UUID:
    """A client of a database of its own, in which every id is free."""
    return create_client(own_engine, "home")
