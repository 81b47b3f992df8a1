"""The `flask …` commands: what they print, and the exit codes that scripts trust."""

from __future__ import annotations

import uuid

import pytest

from service.access.keys import find_key
from service.errors import Unauthorized


@pytest.fixture
def flask(app):
    def run(*words):
        done = app.test_cli_runner().invoke(args=list(words))
        return done.exit_code, done.output

    return run


@pytest.fixture
def name():
    return f"Công ty {uuid.uuid4()}"


def test_a_key_is_made_for_a_client_by_name_and_by_id_and_stands_alone_on_the_last_line(flask, engine, name):
    status, client_id = flask("client", "create", name)
    assert status == 0
    for reference in (name, client_id.strip()):
        status, output = flask("key", "create", reference)
        key = output.splitlines()[-1]
        assert status == 0
        assert str(find_key(engine, key).client_id) == client_id.strip()


def test_a_key_has_the_scopes_and_the_end_that_were_asked_for(flask, engine, name):
    flask("client", "create", name)
    _, output = flask(
        "key", "create", name, "--scope", "call:read", "--scope", "customer:read", "--expires", "2099-01-31 00:00:00"
    )
    holder = find_key(engine, output.splitlines()[-1])
    assert holder.scopes == {"call:read", "customer:read"}
    assert holder.expires_at.year == 2099


def test_a_revoked_key_is_good_no_more(flask, engine, name):
    flask("client", "create", name)
    _, output = flask("key", "create", name)
    key = output.splitlines()[-1]
    assert flask("key", "revoke", str(find_key(engine, key).key_id))[0] == 0
    with pytest.raises(Unauthorized):
        find_key(engine, key)


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (("key", "create", "nobody"), 1, "there is no client 'nobody'"),
        (("key", "create", str(uuid.uuid4())), 1, "there is no client"),
        (("key", "revoke", "999999999"), 1, "there is no API key 999999999"),
        (("key", "revoke", "x"), 2, "not a valid integer"),
        (("key", "create", "demo", "--scope", "all"), 2, "is not one of"),
        (("key", "create", "demo", "--expires", "2020-01-01 00:00:00"), 2, "lies in the past"),
        (("key", "create", "demo", "--expires", "tomorrow"), 2, "not a date and time"),
        (("client", "create", " "), 1, "name: 1 to 100 characters"),
        (("client", "create", "x" * 101), 1, "name: 1 to 100 characters"),
        (("webhook", "add", "nobody", "https://example.com/"), 1, "there is no client 'nobody'"),
        (("ledger", "unpark", "9223372036854775807"), 1, "is not parked"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(flask, words, status, sentence):
    code, output = flask(*words)
    assert (code, sentence in output) == (status, True), output
    assert "Traceback" not in output


def test_a_client_cannot_be_made_twice(flask, name):
    assert flask("client", "create", name)[0] == 0
    status, output = flask("client", "create", name)
    assert status == 1
    assert "exists already" in output


@pytest.mark.parametrize(
    "words",
    [(), ("client",), ("client", "create"), ("key",), ("key", "create"), ("key", "revoke"), ("webhook",),
     ("webhook", "add"), ("webhook", "reencrypt"), ("ledger",), ("ledger", "unpark"), ("demo",), ("demo", "load")],
)  # fmt: skip
def test_every_command_has_help(flask, words):
    status, output = flask(*words, "--help")
    assert status == 0
    assert "Usage" in output


def test_the_demo_does_not_touch_a_database_that_is_in_use(flask, customer, engine):
    from tests.support.ledger import rows

    assert customer
    status, output = flask("demo", "load")
    assert status == 1
    assert "this database uses them" in output
    assert not rows(engine, "SELECT FROM client WHERE name = 'demo'")
