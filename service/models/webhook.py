"""Webhooks: endpoints, the deliveries owed to them, and every attempt at one."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey, Index, Integer, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, Small, UuidKey


class WebhookEndpoint(Base):
    """A subscriber's address with its secret and event filter; `event_types` None means every type."""

    __tablename__ = "webhook_endpoint"

    client_id: Mapped[UuidKey] = mapped_column(ForeignKey("client.id"))
    id: Mapped[UuidKey] = mapped_column(server_default=text("gen_random_uuid()"))
    url: Mapped[str]
    secret: Mapped[str]
    event_types: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    disabled_at: Mapped[datetime | None]
    description: Mapped[str] = mapped_column(server_default=text("''"))
    headers: Mapped[str | None]
    previous_secret: Mapped[str | None]
    previous_secret_until: Mapped[datetime | None]
    ordered: Mapped[bool] = mapped_column(server_default=text("false"))
    disabled_reason: Mapped[str | None]
    deleted_at: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    failing_since: Mapped[datetime | None]
    open_until: Mapped[datetime | None]
    changed_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    last_failed_at: Mapped[datetime | None]


class WebhookDelivery(Base):
    """One event owed to one endpoint: `pending → sending → delivered | failed | skipped`.

    `body` holds the exact bytes that are signed and sent. `priority` 0 is due at once; everything else waits for its
    `next_attempt_at`. While it is `sending`, it belongs to the holder of `lease_token` until `lease_until`.
    """

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        UniqueConstraint("client_id", "endpoint_id", "customer_id", "seq", "event_type"),
        Index(
            "webhook_delivery_queue",
            "priority",
            "client_id",
            "endpoint_id",
            "next_attempt_at",
            "id",
            postgresql_where=text("status = 'pending'"),
        ),
        Index(
            "webhook_delivery_waiting",
            "next_attempt_at",
            postgresql_where=text("status = 'pending' AND priority > 0"),
        ),
        Index(
            "webhook_delivery_sending",
            "client_id",
            "endpoint_id",
            "lease_until",
            postgresql_where=text("status = 'sending'"),
        ),
        Index("webhook_delivery_by_endpoint", "client_id", "endpoint_id", "id"),
        Index(
            "webhook_delivery_order",
            "client_id",
            "endpoint_id",
            "customer_id",
            "seq",
            "id",
            postgresql_where=text("status IN ('pending', 'sending')"),
        ),
        Index(
            "webhook_delivery_missed",
            "client_id",
            "endpoint_id",
            "id",
            postgresql_where=text("status IN ('failed', 'skipped')"),
        ),
        Index("webhook_delivery_finished", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
    )

    client_id: Mapped[UuidKey]
    id: Mapped[UuidKey]
    endpoint_id: Mapped[uuid.UUID]
    customer_id: Mapped[int]
    seq: Mapped[int]
    event_type: Mapped[str]
    webhook_id: Mapped[str]
    body: Mapped[bytes]
    status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    priority: Mapped[Small] = mapped_column(server_default=text("0"))
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    tried_before: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    next_attempt_at: Mapped[datetime | None] = mapped_column(server_default=text("now()"))
    lease_until: Mapped[datetime | None]
    lease_token: Mapped[uuid.UUID | None]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    finished_at: Mapped[datetime | None]


class WebhookAttempt(Base):
    """One HTTP POST of a delivery, written before it is sent; `outcome` is None until it is known."""

    __tablename__ = "webhook_attempt"
    __table_args__ = (Index("webhook_attempt_started", "started_at"),)

    client_id: Mapped[UuidKey]
    delivery_id: Mapped[UuidKey]
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    outcome: Mapped[str | None]
    status_code: Mapped[int | None] = mapped_column(Integer)
    milliseconds: Mapped[int | None] = mapped_column(Integer)
    error: Mapped[str | None]
    started_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    finished_at: Mapped[datetime | None]
