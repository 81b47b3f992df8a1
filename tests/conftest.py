"""Fixtures for tests on real servers. Money is only ever appended: a test gets its own client, not clean tables."""

from __future__ import annotations

import ipaddress
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from dev.embedded import Valkey
from service.access.keys import create_client
from service.app import create_app
from service.config import Config
from service.db.engine import make_engine
from tests.support import servers
from tests.support.client import ApiClient, add_customer, api_client
from tests.support.processes import Processes

SECRET = "a secret of the tests, long enough to be one"
LOOPBACK = "127.0.0.0/8"

_running = ExitStack()


def pytest_configure(config: pytest.Config) -> None:
    """The steering process starts the servers before any test process exists."""
    if not hasattr(config, "workerinput") and not config.option.collectonly:
        _running.enter_context(servers.running())


def pytest_unconfigure(config: pytest.Config) -> None:
    _running.close()


@pytest.fixture(scope="session")
def number(worker_id: str) -> int:
    """This test process's own number, from 1."""
    return int(worker_id.removeprefix("gw")) + 1 if worker_id.startswith("gw") else 1


@pytest.fixture(scope="session")
def config(number: int) -> Iterator[Config]:
    with servers.copied(f"{os.environ[servers.TEMPLATE]}_{number}") as url:
        yield Config(
            database_url=make_url(url),
            redis_url=servers.redis_url(number),
            secret_key=SECRET,
            token_rate_limit="100000 per minute",
            log_level="INFO",
            database_pool_size=40,
            webhook_allow_networks=(ipaddress.ip_network(LOOPBACK),),
        )


@pytest.fixture(scope="session")
def app(config: Config) -> Flask:
    return create_app(config)


@pytest.fixture(scope="session")
def engine(config: Config) -> Iterator[Engine]:
    engine = make_engine(config)
    yield engine
    engine.dispose()


@pytest.fixture
def client_id(engine: Engine) -> uuid.UUID:
    return create_client(engine, f"client {uuid.uuid4()}")


@pytest.fixture
def api(app: Flask, engine: Engine, client_id: uuid.UUID) -> ApiClient:
    """An integrator with every scope."""
    return api_client(app, engine, client_id)


@pytest.fixture
def foreign_api(app: Flask, engine: Engine) -> ApiClient:
    """An integrator of another client."""
    return api_client(app, engine, create_client(engine, f"foreign {uuid.uuid4()}"))


@pytest.fixture
def new_customer(engine: Engine, client_id: uuid.UUID) -> Callable[..., int]:
    """Makes customers of this test's client."""
    return lambda **fields: add_customer(engine, client_id, **fields)


@pytest.fixture
def customer(new_customer: Callable[..., int]) -> int:
    """The id of a customer with a credit of 0."""
    return new_customer()


@pytest.fixture
def own_database() -> Iterator[str]:
    """The URL of a database for one test alone."""
    with servers.copied(f"{os.environ[servers.TEMPLATE]}_{uuid.uuid4().hex[:8]}") as url:
        yield url


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A Redis for one test alone, which it may flush, stop and start."""
    with Valkey(tmp_path / "valkey") as valkey:
        yield valkey


@pytest.fixture
def processes(own_database: str, valkey: Valkey, tmp_path: Path) -> Iterator[Processes]:
    """Real processes on a database and a Redis of their own."""
    processes = Processes(
        {
            "DATABASE_URL": own_database,
            "REDIS_URL": valkey.url,
            "SECRET_KEY": SECRET,
            "WEBHOOK_ALLOW_NETWORKS": LOOPBACK,
        },
        tmp_path / "log",
    )
    yield processes
    processes.end()


@pytest.fixture
def own_engine(own_database: str, config: Config) -> Iterator[Engine]:
    """An engine on this test's own database."""
    engine = make_engine(replace(config, database_url=make_url(own_database)))
    yield engine
    engine.dispose()
