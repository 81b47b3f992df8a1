"""Signed checkpoints: the heads of all streams as they were, and the seals over them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, BigIntKey


class CheckpointHead(Base):
    """The head of one stream as of the newest checkpoint; stays when the stream vanishes."""

    __tablename__ = "checkpoint_head"

    customer_id: Mapped[BigIntKey] = mapped_column(autoincrement=False)
    seq: Mapped[int]
    hash: Mapped[bytes]


class LedgerCheckpoint(Base):
    """A seal over all heads: `streams` and `events` counted, SHA-256 `digest`, HMAC `signature`, the one before it."""

    __tablename__ = "ledger_checkpoint"

    number: Mapped[BigIntKey] = mapped_column(autoincrement=False)
    made_at: Mapped[datetime]
    streams: Mapped[int]
    events: Mapped[int]
    digest: Mapped[bytes]
    previous: Mapped[bytes | None]
    signature: Mapped[bytes]
