"""Clients and their API keys: made, found, revoked.

A key is 256 random bits behind a prefix that secret scanners can recognise. Only its SHA-256 is stored: with that much
entropy there is nothing to guess, so neither salt nor a slow hash would add anything, and the look-up by a unique index
compares hashes, not keys, which leaks no timing about the key.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, Select, func, insert, select, update
from sqlalchemy import exc as sa

from service.access.scopes import ALL_SCOPES, Scope
from service.db.transaction import reading, transaction
from service.errors import AlreadyExists, Invalid, NotFound, Unauthorized
from service.models import ApiKey, Client

KEY_MARK = "pbx_"
PREFIX_LENGTH = len(KEY_MARK) + 8  # enough to tell keys apart, far too little to guess the rest
MAX_NAME_LENGTH = 100
_KeyQuery = Select[int, uuid.UUID, list[str], datetime | None]
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,100}")


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """A good API key, as found: whose it is, what it may do, and until when."""

    key_id: int
    client_id: uuid.UUID
    scopes: frozenset[str]
    expires_at: datetime | None


def create_client(engine: Engine, name: str) -> uuid.UUID:
    """A new client. Raises Invalid for a bad name, AlreadyExists for a taken one."""
    with transaction(engine) as tx:
        return create_client_within(tx, name)


def create_client_within(tx: Connection, name: str) -> uuid.UUID:
    """The same within the transaction of the caller, which a refusal leaves unfit for more."""
    if not _NAME.fullmatch(name) or name != name.strip():
        raise Invalid(f"name: 1 to {MAX_NAME_LENGTH} characters, without control characters or spaces around them")
    try:
        return tx.execute(insert(Client).values(name=name).returning(Client.id)).scalar_one()
    except sa.IntegrityError:
        raise AlreadyExists(f"a client named '{name}' exists already") from None


def find_client(engine: Engine, name_or_id: str) -> uuid.UUID:
    """The id of a client, by name or by id. Raises NotFound."""
    with reading(engine) as connection:
        found = connection.scalar(select(Client.id).where(Client.name == name_or_id))
        if found is None and (as_id := _uuid(name_or_id)):
            found = connection.scalar(select(Client.id).where(Client.id == as_id))
    if found is None:
        raise NotFound(f"there is no client '{name_or_id}'")
    return found


def create_key(
    engine: Engine, client_id: uuid.UUID, scopes: Sequence[Scope] = ALL_SCOPES, expires_at: datetime | None = None
) -> tuple[int, str]:
    """A new key: its id, and the key itself, which is not to be had again."""
    key = KEY_MARK + secrets.token_urlsafe(32)
    values = {
        "client_id": client_id,
        "prefix": key[:PREFIX_LENGTH],
        "hash": _hash(key),
        "scopes": [scope.value for scope in scopes],
        "expires_at": expires_at,
    }
    with transaction(engine) as tx:
        return tx.execute(insert(ApiKey).values(**values).returning(ApiKey.id)).scalar_one(), key


def revoke_key(engine: Engine, key_id: int) -> None:
    """End a key, and with it its tokens. Revoking twice changes nothing. Raises NotFound."""
    with transaction(engine) as tx:
        revoked = tx.execute(
            update(ApiKey)
            .where(ApiKey.id == key_id)
            .values(revoked_at=func.coalesce(ApiKey.revoked_at, func.now()))
            .returning(ApiKey.id)
        ).first()
    if revoked is None:
        raise NotFound(f"there is no API key {key_id}")


def find_key(engine: Engine, key: str) -> KeyHolder:
    """The holder of a key that is good now. Raises Unauthorized for a wrong, revoked or expired one."""
    return _find(engine, _good_keys().where(ApiKey.hash == _hash(key)))


def find_key_by_id(engine: Engine, key_id: int) -> KeyHolder:
    """The same by the key's id, for a token that was given out for it."""
    return _find(engine, _good_keys().where(ApiKey.id == key_id))


def _good_keys() -> _KeyQuery:
    return select(ApiKey.id, ApiKey.client_id, ApiKey.scopes, ApiKey.expires_at).where(
        ApiKey.revoked_at.is_(None), func.coalesce(ApiKey.expires_at > func.now(), True)
    )


def _find(engine: Engine, query: _KeyQuery) -> KeyHolder:
    with reading(engine) as connection:
        row = connection.execute(query).first()
    if row is None:
        raise Unauthorized
    return KeyHolder(row[0], row[1], frozenset(row[2]), row[3])


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
