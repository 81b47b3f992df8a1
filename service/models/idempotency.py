"""The first answers to requests that came with an Idempotency-Key."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, JSON, BigInteger, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Small, UuidKey


class IdempotencyKey(Base):
    """A client's key, what was asked with it, and the answer; no status yet means no answer yet."""

    __tablename__ = "idempotency_key"
    __table_args__ = (Index("idempotency_key_by_age", "created_at"),)

    client_id: Mapped[UuidKey]
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes]
    status: Mapped[Small | None]
    headers: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    body: Mapped[bytes | None]
    customers: Mapped[list[int] | None] = mapped_column(ARRAY(BigInteger))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
