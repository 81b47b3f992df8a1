"""The migrations: from nothing, step by step, and to exactly what the models say."""

from __future__ import annotations

import os
import re
import subprocess
import uuid
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.engine import make_url

from service.db.engine import make_engine
from service.ledger.append import append_one
from service.ledger.command import Caller, add_credit
from service.ledger.proof.verify import verify
from service.models import Base
from tests.support import servers
from tests.support.ledger import apply_everything, assert_applied, assert_sound, events, projection, stream

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = list(reversed(list(ScriptDirectory.from_config(AlembicConfig(str(ROOT / "alembic.ini"))).walk_revisions())))


@pytest.fixture
def empty_database():
    with servers.empty(f"pbx_empty_{uuid.uuid4().hex[:8]}") as url:
        yield url


def version_of(url: str) -> str | None:
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def test_they_run_from_an_empty_database_one_by_one(empty_database):
    for script in SCRIPTS:
        servers.migrate(empty_database, script.revision)
        assert version_of(empty_database) == script.revision


def test_the_newest_runs_on_the_previous_head_with_data_in_it(empty_database):
    servers.migrate(empty_database, SCRIPTS[-2].revision)
    engine = create_engine(empty_database, poolclass=NullPool)
    with engine.begin() as connection:
        client = connection.scalar(text("INSERT INTO client (name) VALUES ('before') RETURNING id"))
        connection.execute(
            text("INSERT INTO customer (id, client_id, username, useralias) VALUES (1, :c, 'u', 'a')"), {"c": client}
        )
        connection.execute(text("INSERT INTO stream (customer_id, client_id, status) VALUES (1, :c, 1)"), {"c": client})
    servers.migrate(empty_database)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT username FROM customer")) == "u"


@pytest.fixture
def at_0006(empty_database, config):
    """A database at the first release's schema, with a customer, two events and one of them not applied."""
    servers.migrate(empty_database, "0006_webhooks")
    engine = make_engine(replace(config, database_url=make_url(empty_database)))
    with engine.begin() as connection:
        client = connection.scalar(text("INSERT INTO client (name) VALUES ('before') RETURNING id"))
        for statement in (
            "INSERT INTO customer (id, client_id, username, useralias, creditlimit) VALUES (1, :c, 'u', 'a', 12.5)",
            "INSERT INTO stream (customer_id, client_id, status) VALUES (1, :c, 1)",
        ):
            connection.execute(text(statement), {"c": client})
        for kind, amount, status in (("customer.created", 5, 1), ("credit.set", 7, None), ("status.set", None, 6)):
            assert old_append(connection, client, kind, amount, status) == "appended"
    yield engine, client
    engine.dispose()


def old_append(connection, client, kind, amount, status, ref="u"):
    """What the first release's code calls."""
    statement = """
        SELECT outcome FROM ledger_append(
            ARRAY[CAST(:client AS uuid)], ARRAY[:ref], ARRAY[gen_random_uuid()], ARRAY[:kind],
            ARRAY[CAST(:amount AS numeric)], ARRAY[CAST(:status AS smallint)], ARRAY['trước'],
            ARRAY[CAST(NULL AS text)], ARRAY['key:1'], ARRAY['r'], true, false)"""
    return connection.scalar(
        text(statement), {"client": client, "ref": ref, "kind": kind, "amount": amount, "status": status}
    )


def test_what_the_first_release_wrote_goes_on_in_the_newest(at_0006):
    engine, client = at_0006
    servers.migrate(engine.url.render_as_string(hide_password=False))
    head = stream(engine, 1)
    assert (head.balance, head.held, head.creditlimit, head.last_seq) == (7, 0, Decimal("12.5"), 3)
    assert head.status_at == events(engine, 1)[-1].recorded_at
    append_one(engine, add_credit(Caller(client, "test"), "u", Decimal("-19.5")))
    assert_sound(engine, 1)
    assert {event.hash_format for event in events(engine, 1)} == {1, 2}
    apply_everything(engine)
    assert_applied(engine, 1)
    assert projection(engine, 1).creditlimit == Decimal("12.5")


def test_code_of_the_first_release_goes_on_appending_after_the_migration(at_0006):
    engine, client = at_0006
    servers.migrate(engine.url.render_as_string(hide_password=False))
    with engine.begin() as connection:
        assert old_append(connection, client, "credit.set", 9, None) == "appended"
        assert old_append(connection, client, "credit.set", Decimal("0.1234567"), None) == "not_exact"
    assert stream(engine, 1).balance == 9
    assert_sound(engine, 1)


def test_a_customer_that_code_of_the_first_release_makes_afterwards_keeps_its_limit(at_0006):
    engine, client = at_0006
    servers.migrate(engine.url.render_as_string(hide_password=False))
    with engine.begin() as connection:
        for statement in (
            "INSERT INTO customer (id, client_id, username, useralias, creditlimit) VALUES (2, :c, 'v', 'b', 7.5)",
            "INSERT INTO stream (customer_id, client_id, status) VALUES (2, :c, 1)",
        ):
            connection.execute(text(statement), {"c": client})
        assert old_append(connection, client, "customer.created", 1, 1, "v") == "appended"
    assert append_one(engine, add_credit(Caller(client, "test"), "v", Decimal("-8.5"))).available == 0
    apply_everything(engine)
    verify(engine)


@pytest.mark.parametrize("days", [2_147_483_647, -5])
def test_expiry_days_beyond_the_calendar_do_not_stop_the_migration(empty_database, days):
    servers.migrate(empty_database, "0006_webhooks")
    engine = create_engine(empty_database, poolclass=NullPool)
    with engine.begin() as connection:
        client = connection.scalar(text("INSERT INTO client (name) VALUES ('odd') RETURNING id"))
        columns = "client_id, username, useralias, enableexpire, expiredays"
        statement = f"INSERT INTO customer ({columns}) VALUES (:c, 'u', 'a', 3, :d)"
        connection.execute(text(statement), {"c": client, "d": days})
    servers.migrate(empty_database)
    assert version_of(empty_database) == SCRIPTS[-1].revision


def test_the_models_say_exactly_what_the_migrations_made(engine):
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "compare_server_default": False,
                "include_object": lambda _, name, kind, *__: not (kind == "table" and name.startswith("call_record_")),
            },
        )
        assert compare_metadata(context, Base.metadata) == []


def test_they_are_one_line_with_numbers_in_order_and_no_way_down():
    numbers = [int(re.match(r"(\d{4})_", script.revision)[1]) for script in SCRIPTS]
    assert numbers == list(range(1, len(SCRIPTS) + 1))
    assert not any(hasattr(script.module, "downgrade") for script in SCRIPTS)


def test_two_releases_at_once_migrate_once(empty_database):
    environment = {**os.environ, "DATABASE_URL": empty_database, "REDIS_URL": "redis://x", "SECRET_KEY": "x" * 40}
    command = [str(ROOT / ".venv/bin/alembic"), "upgrade", "head"]
    both = [subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0], [process.stderr.read() for process in both]
    assert version_of(empty_database) == SCRIPTS[-1].revision
