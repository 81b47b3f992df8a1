"""The ledger's tables: stream heads, events, outbox, change log, holds, references."""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import DELTA, Base, BigIntKey, Small, UuidKey


class Stream(Base):
    """The head of one customer's stream: what the next append starts from."""

    __tablename__ = "stream"

    customer_id: Mapped[BigIntKey] = mapped_column(ForeignKey("customer.id"), autoincrement=False)
    client_id: Mapped[uuid.UUID]
    last_seq: Mapped[int] = mapped_column(server_default=text("0"))
    balance: Mapped[Decimal] = mapped_column(server_default=text("0"))
    status: Mapped[Small]
    last_hash: Mapped[bytes] = mapped_column(server_default=text(r"'\x'"))
    last_at: Mapped[datetime] = mapped_column(server_default=text("'-infinity'"))
    held: Mapped[Decimal] = mapped_column(server_default=text("0"))
    creditlimit: Mapped[Decimal | None]
    credit_notification: Mapped[Decimal | None]
    status_at: Mapped[datetime | None]
    last_position: Mapped[int] = mapped_column(server_default=text("0"))


class LedgerEvent(Base):
    """One immutable fact. Only `ledger_append` writes here; nothing changes or removes a row."""

    __tablename__ = "ledger_event"
    __table_args__ = (
        UniqueConstraint("customer_id", "command_id"),
        Index("ledger_event_referring", "customer_id", "refers_to", postgresql_where=text("refers_to IS NOT NULL")),
        Index("ledger_event_feed", "client_id", "position", "customer_id", "seq"),
    )

    customer_id: Mapped[BigIntKey] = mapped_column(autoincrement=False)
    seq: Mapped[BigIntKey] = mapped_column(autoincrement=False)
    client_id: Mapped[uuid.UUID]
    command_id: Mapped[uuid.UUID]
    kind: Mapped[str]
    amount: Mapped[Decimal | None]
    delta: Mapped[Decimal] = mapped_column(DELTA)
    balance_after: Mapped[Decimal]
    status_after: Mapped[Small]
    reason: Mapped[str | None]
    reference: Mapped[str | None]
    actor: Mapped[str]
    request_id: Mapped[str | None]
    recorded_at: Mapped[datetime]
    hash_format: Mapped[Small]
    hash: Mapped[bytes]
    held_after: Mapped[Decimal] = mapped_column(server_default=text("0"))
    creditlimit_after: Mapped[Decimal | None]
    refers_to: Mapped[int | None]
    detail: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    idempotency_key: Mapped[str | None]
    position: Mapped[int] = mapped_column(server_default=text("0"))


class Outbox(Base):
    """One row per event that is not applied yet."""

    __tablename__ = "outbox"
    __table_args__ = (Index("outbox_due", "shard", "recorded_at", postgresql_where=text("NOT parked")),)

    customer_id: Mapped[BigIntKey] = mapped_column(autoincrement=False)
    seq: Mapped[BigIntKey] = mapped_column(autoincrement=False)
    shard: Mapped[Small]
    recorded_at: Mapped[datetime]
    parked: Mapped[bool] = mapped_column(server_default=text("false"))


class ChangeLog(Base):
    """One row per applied event: what changed, from what to what, who asked, when it was applied."""

    __tablename__ = "change_log"

    customer_id: Mapped[BigIntKey] = mapped_column(autoincrement=False)
    seq: Mapped[BigIntKey] = mapped_column(autoincrement=False)
    client_id: Mapped[uuid.UUID]
    kind: Mapped[str]
    credit_before: Mapped[Decimal]
    credit_after: Mapped[Decimal]
    status_before: Mapped[Small]
    status_after: Mapped[Small]
    actor: Mapped[str]
    reason: Mapped[str | None]
    recorded_at: Mapped[datetime]
    applied_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class FeedBase(Base):
    """What is added to transaction ids to make positions: one row."""

    __tablename__ = "feed_base"

    only_one: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    base: Mapped[int] = mapped_column(server_default=text("0"))


class LedgerReference(Base):
    """A payment's own number, used once per client, and the event that it stands for."""

    __tablename__ = "ledger_reference"

    client_id: Mapped[UuidKey]
    reference: Mapped[str] = mapped_column(primary_key=True)
    customer_id: Mapped[int]
    seq: Mapped[int]


class Hold(Base):
    """Credit that is put aside, by the place of the event that did so."""

    __tablename__ = "hold"
    __table_args__ = (
        Index("hold_expiring", "expires_at", postgresql_where=text("status = 'open'")),
        Index("hold_open", "customer_id", "expires_at", postgresql_where=text("status = 'open'")),
    )

    customer_id: Mapped[BigIntKey] = mapped_column(autoincrement=False)
    seq: Mapped[BigIntKey] = mapped_column(autoincrement=False)
    client_id: Mapped[uuid.UUID]
    amount: Mapped[Decimal]
    captured: Mapped[Decimal] = mapped_column(server_default=text("0"))
    status: Mapped[str] = mapped_column(server_default=text("'open'"))
    expires_at: Mapped[datetime]
    closed_seq: Mapped[int | None]
