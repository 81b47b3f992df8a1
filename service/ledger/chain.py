"""The hash chain, worked out a second time: independent of the SQL that wrote it, so that each can prove the other.

Format 1: SHA-256 over the previous hash (empty before the first event) and fourteen fields behind a format number. A
field is a netstring, `<bytes>:<UTF-8>,`, and nothing at all is `-,`. Money is text with five decimals, the moment whole
microseconds since 1970.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

FORMAT = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Link:
    """Every field of an event that its hash covers."""

    customer_id: int
    seq: int
    client_id: uuid.UUID
    command_id: uuid.UUID
    kind: str
    amount: Decimal | None
    delta: Decimal
    balance_after: Decimal
    status_after: int
    reason: str | None
    reference: str | None
    actor: str
    request_id: str | None
    recorded_at: datetime


def event_hash(previous: bytes, link: Link) -> bytes:
    """The SHA-256 (32 bytes) of an event that follows the event with the hash `previous`."""
    digest = hashlib.sha256(previous)
    for field in _fields(link):
        digest.update(_framed(field))
    return digest.digest()


def _fields(link: Link) -> Iterator[str | None]:
    yield str(FORMAT)
    yield str(link.customer_id)
    yield str(link.seq)
    yield str(link.client_id)
    yield str(link.command_id)
    yield link.kind
    yield _money(link.amount)
    yield _money(link.delta)
    yield _money(link.balance_after)
    yield str(link.status_after)
    yield link.reason
    yield link.reference
    yield link.actor
    yield link.request_id
    yield str((link.recorded_at - _EPOCH) // timedelta(microseconds=1))


def _money(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:.5f}"


def _framed(field: str | None) -> bytes:
    if field is None:
        return b"-,"
    data = field.encode()
    return b"%d:%b," % (len(data), data)
