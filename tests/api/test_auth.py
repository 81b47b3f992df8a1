"""Keys and tokens: exchanged, scoped, expired, revoked, and signed with secrets that can be rotated."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta

import jwt
import pytest
import time_machine

from service import clock
from service.access import tokens
from service.access.keys import create_key, revoke_key
from service.app import create_app
from tests.support.client import ApiClient
from tests.support.ledger import rows


@pytest.mark.parametrize("key", ["", "wrong", "pbx_", "x" * 200, "ключ"])
def test_a_wrong_key_gets_no_token(api, key):
    answer = api.post("/v1/auth/token", {"api_key": key})
    assert (answer.status, answer.error) == (401, "Unauthorized")


def test_nothing_on_the_way_may_keep_a_token(api):
    assert api.post("/v1/auth/token", {"api_key": api.key}).headers["Cache-Control"] == "no-store"


def test_a_revoked_key_gets_no_token_and_its_tokens_end_within_five_seconds(app, engine, client_id):
    key_id, key = create_key(engine, client_id)
    api = ApiClient(app, client_id, key).sign_in()
    assert api.get("/v1/customer").status == 200
    revoke_key(engine, key_id)
    revoked = time.monotonic()
    assert api.post("/v1/auth/token", {"api_key": key}).status == 401
    while api.get("/v1/customer").status == 200:
        assert time.monotonic() - revoked < 5
        time.sleep(0.05)


def test_an_expired_key_gets_no_token_and_a_token_never_outlives_its_key(app, engine, client_id):
    _, key = create_key(engine, client_id, expires_at=clock.now() + timedelta(seconds=100))
    api = ApiClient(app, client_id, key)
    assert 98 <= api.post("/v1/auth/token", {"api_key": key}).json["data"]["expired_in"] <= 100
    _, dead = create_key(engine, client_id, expires_at=clock.now() - timedelta(seconds=1))
    assert api.post("/v1/auth/token", {"api_key": dead}).status == 401


def test_a_token_ends_when_it_said_it_would_though_it_was_remembered(app, api, config):
    assert api.get("/v1/customer").status == 200
    with time_machine.travel(clock.now() + timedelta(seconds=config.token_ttl - 5)):
        assert api.get("/v1/customer").status == 200
    with time_machine.travel(clock.now() + timedelta(seconds=config.token_ttl + 1)):
        assert api.get("/v1/customer").status == 401


def test_a_secret_is_rotated_without_logging_anybody_out(config, api):
    new = "another secret of the tests, also long enough"
    rotated = create_app(replace(config, secret_key=new, secret_key_previous=config.secret_key))
    after = create_app(replace(config, secret_key=new))
    old_token = dict(api.headers)
    assert ApiClient(rotated, api.client_id, api.key, old_token).get("/v1/customer").status == 200
    assert ApiClient(after, api.client_id, api.key, old_token).get("/v1/customer").status == 401
    new_token = ApiClient(rotated, api.client_id, api.key).sign_in().headers
    assert ApiClient(after, api.client_id, api.key, dict(new_token)).get("/v1/customer").status == 200
    assert ApiClient(create_app(config), api.client_id, api.key, dict(new_token)).get("/v1/customer").status == 401


@pytest.mark.parametrize("algorithm", ["none", "HS512"])
def test_a_token_signed_in_another_way_is_refused(api, config, algorithm):
    signer = tokens.Signer(config.secret_key)
    kid = signer._current
    claims = {"iss": tokens.ISSUER, "sub": "1", "iat": int(time.time()), "exp": int(time.time()) + 99}
    key = None if algorithm == "none" else signer._keys[kid]
    forged = jwt.encode(claims, key, algorithm, headers={"kid": kid})
    api.headers["Authorization"] = f"Bearer {forged}"
    assert api.get("/v1/customer").status == 401


def test_neither_key_nor_secret_lies_in_the_database_or_the_token(engine, api, config):
    stored = repr(rows(engine, "SELECT * FROM api_key"))
    assert api.key not in stored
    assert api.key[:12] in stored
    assert config.secret_key not in repr(config)
    assert api.key not in api.headers["Authorization"]
