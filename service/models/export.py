"""Exports of calls, and the chunks of their files."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey, ForeignKeyConstraint, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, UuidKey


class CallExport(Base):
    """Calls that a client wants as one file, and how far it is written: `pending → running → done | failed`.

    `place_time` and `place_id` are the last call that was looked at. A turn belongs to the holder of `lease_token`
    until `lease_until`; without a token, none begins before then.
    """

    __tablename__ = "call_export"
    __table_args__ = (
        Index("call_export_by_age", "client_id", "created_at", "id"),
        Index("call_export_unfinished", "client_id", "created_at", "id", postgresql_where=text("finished_at IS NULL")),
        Index("call_export_expiry", "expires_at", postgresql_where=text("expires_at IS NOT NULL")),
    )

    client_id: Mapped[UuidKey] = mapped_column(ForeignKey("client.id"))
    id: Mapped[UuidKey] = mapped_column(server_default=text("gen_random_uuid()"))
    period_start: Mapped[datetime]
    period_end: Mapped[datetime]
    source: Mapped[str | None]
    customer_id: Mapped[int | None]
    destination: Mapped[str | None]
    disposition: Mapped[str | None]
    min_duration: Mapped[int | None] = mapped_column(Integer)
    unmatched: Mapped[bool] = mapped_column(server_default=text("false"))
    status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    total: Mapped[int | None]
    seen: Mapped[int] = mapped_column(server_default=text("0"))
    written: Mapped[int] = mapped_column(server_default=text("0"))
    size: Mapped[int] = mapped_column(server_default=text("0"))
    chunks: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    place_time: Mapped[datetime | None]
    place_id: Mapped[int | None]
    lease_until: Mapped[datetime | None]
    lease_token: Mapped[uuid.UUID | None]
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    turn_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    finished_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]


class CallExportChunk(Base):
    """A part of an export's file: one member of a gzip file, numbered from 1."""

    __tablename__ = "call_export_chunk"
    __table_args__ = (ForeignKeyConstraint(["client_id", "export_id"], ["call_export.client_id", "call_export.id"]),)

    client_id: Mapped[UuidKey]
    export_id: Mapped[UuidKey]
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    body: Mapped[bytes]
