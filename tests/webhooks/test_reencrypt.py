"""After a change of the key everything is readable with the new one alone, and nothing half-way."""

import uuid

import pytest
from sqlalchemy import text

from service.access.keys import create_client
from service.db.transaction import transaction
from service.webhooks.endpoints import NewEndpoint, create_endpoint, delete_endpoint, rotate_secret
from service.webhooks.headers import read_headers
from service.webhooks.reencrypt import reencrypt
from service.webhooks.vault import Unreadable, Vault
from tests.conftest import SECRET
from tests.support.ledger import rows
from tests.support.tampering import run_flask

OLD, NEW = Vault("the old key"), Vault("the new key")
BOTH = Vault("the new key", "the old key")
HEADERS = {"X-Token": "abc"}


@pytest.fixture
def client(own_engine):
    return create_client(own_engine, f"client {uuid.uuid4()}")


def endpoint(engine, client, vault):
    """An endpoint with all that can be sealed; its two secrets, the current one first."""
    with transaction(engine) as tx:
        made, first = create_endpoint(tx, client, NewEndpoint("https://a.example/", headers=HEADERS), vault)
        second, _ = rotate_secret(tx, client, made.id, 600, vault)
    return second, first


def kept_answer(engine, client, body):
    with transaction(engine) as tx:
        tx.execute(
            text(
                "INSERT INTO idempotency_key (client_id, key, fingerprint, status, headers, body) "
                "VALUES (:client, :key, decode(repeat('00', 32), 'hex'), 200, '{}', :body)"
            ),
            {"client": client, "key": uuid.uuid4().hex, "body": body},
        )


def test_all_is_readable_with_the_new_key_alone(own_engine, client):
    secrets = endpoint(own_engine, client, OLD)
    kept_answer(own_engine, client, OLD.seal_bytes(b'{"secret": 1}'))
    kept_answer(own_engine, client, b'{"open": 1}')
    assert reencrypt(own_engine, BOTH) == 4
    [row] = rows(own_engine, "SELECT * FROM webhook_endpoint")
    assert (NEW.open(row.secret), NEW.open(row.previous_secret)) == secrets
    assert read_headers(row.headers, NEW) == HEADERS
    bodies = [bytes(row.body) for row in rows(own_engine, "SELECT body FROM idempotency_key")]
    assert sorted(NEW.open_bytes(body) for body in bodies if body.startswith(b"v1:")) == [b'{"secret": 1}']
    assert [body for body in bodies if not body.startswith(b"v1:")] == [b'{"open": 1}']


def test_a_value_that_no_key_opens_leaves_everything_as_it_was(own_engine, client):
    endpoint(own_engine, client, OLD)
    endpoint(own_engine, client, NEW)
    before = rows(own_engine, "SELECT * FROM webhook_endpoint ORDER BY id")
    with pytest.raises(Unreadable):
        reencrypt(own_engine, NEW)
    assert rows(own_engine, "SELECT * FROM webhook_endpoint ORDER BY id") == before


def test_what_nobody_needs_any_more_stands_in_nobodys_way(own_engine, client):
    lost = Vault("a lost key")
    with transaction(own_engine) as tx:
        deleted, _ = create_endpoint(tx, client, NewEndpoint("https://a.example/", headers=HEADERS), lost)
        delete_endpoint(tx, client, deleted.id)
        rotated, _ = create_endpoint(tx, client, NewEndpoint("https://b.example/"), lost)
        secret, _ = rotate_secret(tx, client, rotated.id, 600, OLD)
        tx.execute(text("UPDATE webhook_endpoint SET previous_secret_until = now() WHERE previous_secret IS NOT NULL"))
    assert reencrypt(own_engine, BOTH) == 1
    kept = {row.id: row for row in rows(own_engine, "SELECT * FROM webhook_endpoint")}
    assert NEW.open(kept[rotated.id].secret) == secret
    assert (kept[rotated.id].previous_secret, kept[rotated.id].previous_secret_until) == (None, None)
    assert kept[deleted.id].secret == ""


def test_an_old_secret_that_still_signs_along_must_be_readable(own_engine, client):
    with transaction(own_engine) as tx:
        made, _ = create_endpoint(tx, client, NewEndpoint("https://a.example/"), Vault("a lost key"))
        rotate_secret(tx, client, made.id, 600, OLD)
    with pytest.raises(Unreadable):
        reencrypt(own_engine, BOTH)


def test_the_command_takes_secrets_of_an_earlier_release_along(own_database, own_engine, client):
    key, previous = "k" * 32, "p" * 32
    endpoint(own_engine, client, Vault(previous))
    with transaction(own_engine) as tx:
        tx.execute(text("UPDATE webhook_endpoint SET secret = 'whsec_in_clear'"))
    done = run_flask(own_database, "webhook", "reencrypt", ENCRYPTION_KEY=key, ENCRYPTION_KEY_PREVIOUS=previous)
    assert (done.returncode, done.stdout) == (0, "3 values are encrypted with the current key.\n")
    [row] = rows(own_engine, "SELECT * FROM webhook_endpoint")
    assert Vault(key).open(row.secret) == "whsec_in_clear"
    failed = run_flask(own_database, "webhook", "reencrypt", ENCRYPTION_KEY="x" * 32)
    assert failed.returncode == 1
    assert "cannot be read with the keys that are set now" in failed.stderr
    assert SECRET not in failed.stderr
