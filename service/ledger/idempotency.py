"""A request with an Idempotency-Key is carried out once, however often it is sent.

The first answer is kept in the transaction that makes the change, so there is never one without the other: whoever
asks again, also after a crash between commit and answer, is given the same bytes. While a request is under way its key
is locked by that very transaction, so a process that dies leaves no lock behind.

A request that takes several transactions (a bulk) notes first that it has begun. Cut short, it is taken up again by
whoever sends it again; its commands have ids that follow from the key, so none is carried out twice.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text

from service.db.transaction import single_statement
from service.errors import InFlight, KeyReused

FORGOTTEN_AT_ONCE = 5_000  # keys that one statement deletes: so many rows are locked for some milliseconds only


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """What was asked for with a client's key. `fingerprint`: SHA-256 over what makes two requests the same."""

    client_id: uuid.UUID
    key: str
    fingerprint: bytes

    def command_id(self, number: int) -> uuid.UUID:
        """The id of the request's command of that number, the same whenever it is worked out."""
        return uuid.uuid5(self.client_id, f"{number} {self.fingerprint.hex()} {self.key}")


@dataclass(frozen=True, slots=True)
class FirstAnswer:
    """What the first request with a key was answered."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """A key that this transaction holds, or the answer that was given with it.

    `customers`: somebody had begun and was cut short; whom the commands of that request mean.
    """

    answer: FirstAnswer | None
    customers: list[int] | None = None


def claim(tx: Connection, request: KeyedRequest) -> Claim:
    """Take the key for this transaction, or find its answer. Raises KeyReused, InFlight."""
    row = tx.execute(_CLAIM, {"client": request.client_id, "key": request.key}).one()
    if row.fingerprint is not None and row.fingerprint != request.fingerprint:
        raise KeyReused
    if row.status is not None:
        return Claim(FirstAnswer(row.status, row.headers, row.body))
    if not row.locked:
        raise InFlight
    return Claim(None, row.customers)


def begin(engine: Engine, request: KeyedRequest, customers: Sequence[int]) -> None:
    """Note, for good, that a request of several transactions has begun, and whom its commands mean: a caller id may be
    another's when it is taken up again. To be called by who holds the claim."""
    with single_statement(engine) as connection:
        connection.execute(_BEGIN, {**_identity(request), "customers": list(customers)})


def remember(tx: Connection, request: KeyedRequest, answer: FirstAnswer) -> None:
    """Keep the answer, in the transaction that makes the change."""
    values = {"status": answer.status, "headers": json.dumps(answer.headers), "body": answer.body}
    tx.execute(_REMEMBER, {**_identity(request), **values})


def forget_old(engine: Engine, days: int) -> int:
    """Delete keys older than that; how many. The events keep theirs."""
    forgotten, found = 0, FORGOTTEN_AT_ONCE
    while found == FORGOTTEN_AT_ONCE:
        with single_statement(engine) as connection:
            found = connection.execute(_FORGET, {"days": days, "limit": FORGOTTEN_AT_ONCE}).rowcount
        forgotten += found
    return forgotten


def _identity(request: KeyedRequest) -> dict[str, object]:
    return {"client": request.client_id, "key": request.key, "fingerprint": request.fingerprint}


_CLAIM = text("SELECT locked, fingerprint, customers, status, headers, body FROM idempotency_claim(:client, :key)")
_BEGIN = text("""
    INSERT INTO idempotency_key (client_id, key, fingerprint, customers)
    VALUES (:client, :key, :fingerprint, CAST(:customers AS bigint[]))
    ON CONFLICT DO NOTHING
""")
_REMEMBER = text("""
    INSERT INTO idempotency_key (client_id, key, fingerprint, status, headers, body)
    VALUES (:client, :key, :fingerprint, :status, CAST(:headers AS json), :body)
    ON CONFLICT (client_id, key) DO UPDATE
    SET status = EXCLUDED.status, headers = EXCLUDED.headers, body = EXCLUDED.body, customers = NULL
""")
_FORGET = text("""
    DELETE FROM idempotency_key WHERE (client_id, key) IN (
        SELECT client_id, key FROM idempotency_key
        WHERE created_at < now() - make_interval(days => :days) ORDER BY created_at LIMIT :limit)
""")
