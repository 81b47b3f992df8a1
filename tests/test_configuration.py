"""A process that can't run says why, in one sentence, and ends with a status that scripts can trust."""

from __future__ import annotations

import subprocess

import pytest
import requests
from sqlalchemy.engine import make_url

from service.config import Config
from service.errors import Misconfigured
from tests.support.processes import ROOT, free_port

GOOD = {"DATABASE_URL": "postgres://u:p@h/d", "REDIS_URL": "redis://h", "SECRET_KEY": "s" * 32}
COMMANDS = {
    "web": ["gunicorn", "wsgi:app"],
    "worker": ["python", "-m", "workers", "apply"],
    "deliver": ["python", "-m", "workers", "deliver"],
    "clock": ["python", "-m", "workers", "clock"],
    "flask": ["flask", "client", "create", "x"],
    "release": ["alembic", "upgrade", "head"],
}


@pytest.fixture
def environ(monkeypatch):
    def use(**variables):
        for name in ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "SECRET_KEY_PREVIOUS", "TIMEZONE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return Config.from_environ

    return use


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"SECRET_KEY": ""}, "SECRET_KEY is not set"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY is too short"),
        ({"SECRET_KEY_PREVIOUS": "short"}, "SECRET_KEY_PREVIOUS is too short"),
        ({"ENCRYPTION_KEY": "short"}, "ENCRYPTION_KEY is too short"),
        ({"ENCRYPTION_KEY_PREVIOUS": "short"}, "ENCRYPTION_KEY_PREVIOUS is too short"),
        ({"DATABASE_URL": ""}, "DATABASE_URL is not set"),
        ({"DATABASE_URL": "nonsense"}, "DATABASE_URL cannot be read"),
        ({"DATABASE_URL": "mysql://h/d"}, "DATABASE_URL must name a PostgreSQL database"),
        ({"REDIS_URL": "http://h"}, "REDIS_URL must be set to a Redis address"),
        ({"TIMEZONE": "Mars/Olympus"}, "TIMEZONE 'Mars/Olympus' is not a time zone name"),
        ({"TOKEN_TTL": "soon"}, "TOKEN_TTL"),
        ({"TOKEN_TTL": "0"}, "TOKEN_TTL must be at least 1"),
        ({"TRUSTED_PROXIES": "-1"}, "TRUSTED_PROXIES must be at least 0"),
        ({"LOG_LEVEL": "chatty"}, "LOG_LEVEL must be one of DEBUG"),
        ({"LOG_FORMAT": "xml"}, "LOG_FORMAT must be one of json, console"),
        ({"WEBHOOK_TIMEOUT": "0"}, "WEBHOOK_TIMEOUT must be from 1 to 20 seconds"),
        ({"WEBHOOK_TIMEOUT": "60"}, "WEBHOOK_TIMEOUT must be from 1 to 20 seconds"),
        ({"WEBHOOK_ALLOW_NETWORKS": "10.0.0.0/99"}, "WEBHOOK_ALLOW_NETWORKS"),
        ({"TOKEN_RATE_LIMIT": "often"}, "TOKEN_RATE_LIMIT"),
    ],
)
def test_what_will_not_do_is_named(environ, changed, sentence):
    with pytest.raises(Misconfigured) as error:
        environ(**{**GOOD, **changed})()
    assert sentence in str(error.value)
    assert "short" not in str(error.value).replace("too short", "")


def test_the_platforms_own_spelling_of_the_database_is_taken(environ):
    config = environ(**GOOD)()
    assert config.database_url == make_url("postgresql+psycopg://u:p@h/d")


def test_no_secret_shows_in_a_configs_text(environ):
    shown = repr(environ(**{**GOOD, "DATABASE_URL": "postgres://u:hunter2@h/d", "METRICS_TOKEN": "m3tr1cs"})())
    for secret in ("hunter2", "s" * 32, "m3tr1cs"):
        assert secret not in shown


def run(processes, name, **changed):
    environment = {**processes.environment, **changed}
    done = subprocess.run(
        COMMANDS[name], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stderr + done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_process_refuses_to_start_without_a_secret(processes, name):
    status, output = run(processes, name, SECRET_KEY="")
    assert status != 0
    assert "SECRET_KEY is not set" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_process_says_so_when_the_database_is_away(processes, name):
    status, output = run(processes, name, DATABASE_URL=f"postgres://u:hunter2@127.0.0.1:{free_port()}/d")
    assert status != 0
    assert "the database cannot be reached" in output
    assert "Traceback" not in output
    assert "hunter2" not in output


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "release"])
def test_every_process_refuses_the_wrong_schema_version(processes, name, own_engine):
    with own_engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001_clients'")
    status, output = run(processes, name)
    assert status != 0
    assert "the database is at schema version 0001_clients" in output
    assert "alembic upgrade head" in output
    assert "Traceback" not in output


def test_a_newer_schema_is_worked_with_because_migrations_only_add(processes, own_engine):
    with own_engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999_of_the_next_release'")
    processes.start_web()
    assert requests.get(f"{processes.url}/readyz").json()["schema"] == "9999_of_the_next_release"


def test_a_number_of_threads_that_is_none_is_named(processes):
    status, output = run(processes, "web", WEB_THREADS="many")
    assert status != 0
    assert "WEB_THREADS must be a whole number of at least 1" in output
    assert "Traceback" not in output
