"""The ledger's tables: stream heads, events, outbox, change log."""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import DELTA, Base, BigIntKey, Small


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


class LedgerEvent(Base):
    """One immutable fact. Only `ledger_append` writes here; nothing changes or removes a row."""

    __tablename__ = "ledger_event"
    __table_args__ = (UniqueConstraint("customer_id", "command_id"),)

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
