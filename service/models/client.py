"""Who may call: clients and their API keys."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey, Identity, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, BigIntKey, UuidKey


class Client(Base):
    """A tenant of the API."""

    __tablename__ = "client"

    id: Mapped[UuidKey] = mapped_column(server_default=text("gen_random_uuid()"))
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class ApiKey(Base):
    """A key of a client. `hash` is the SHA-256 of the key, `prefix` its first characters for people."""

    __tablename__ = "api_key"
    __table_args__ = (Index("api_key_by_client", "client_id"),)

    id: Mapped[BigIntKey] = mapped_column(Identity(always=False))
    client_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("client.id"))
    prefix: Mapped[str]
    hash: Mapped[bytes] = mapped_column(unique=True)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
