"""Customers and their caller ids."""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal

from sqlalchemy import FetchedValue, ForeignKey, Identity, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, BigIntKey, Small, UuidKey


class Customer(Base):
    """A subscriber. `credit`, `status` and `applied_seq` are the projection of its stream."""

    __tablename__ = "customer"
    __table_args__ = (
        UniqueConstraint("client_id", "username"),
        UniqueConstraint("client_id", "useralias"),
        Index("customer_by_client", "client_id", "id"),
        Index("customer_parked", "id", postgresql_where=text("parked_at IS NOT NULL")),
        Index(
            "customer_expiring",
            "expires_at",
            postgresql_where=text("status = 1 AND (status_at IS NULL OR status_at < expires_at)"),
        ),
    )

    id: Mapped[BigIntKey] = mapped_column(Identity(always=False))
    client_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("client.id"))
    username: Mapped[str]
    useralias: Mapped[str]
    credit: Mapped[Decimal] = mapped_column(server_default=text("0"))
    status: Mapped[Small] = mapped_column(server_default=text("1"))
    applied_seq: Mapped[int] = mapped_column(server_default=text("0"))
    creationdate: Mapped[datetime] = mapped_column(server_default=text("now()"))
    firstusedate: Mapped[datetime | None]
    expirationdate: Mapped[datetime | None]
    enableexpire: Mapped[Small] = mapped_column(server_default=text("0"))
    expiredays: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    activated: Mapped[bool] = mapped_column(server_default=text("false"))
    lastuse: Mapped[datetime | None]
    creditlimit: Mapped[Decimal | None]
    id_group: Mapped[int | None]
    parked_at: Mapped[datetime | None]
    parked_reason: Mapped[str | None]
    type_paid: Mapped[Small] = mapped_column(server_default=text("0"))
    held: Mapped[Decimal] = mapped_column(server_default=text("0"))
    credit_notification: Mapped[Decimal | None]
    status_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None] = mapped_column(FetchedValue())


class CallerId(Base):
    """A number by which a customer is known to the PBX; unique within a client."""

    __tablename__ = "caller_id"
    __table_args__ = (Index("caller_id_by_customer", "customer_id", "cid"),)

    client_id: Mapped[UuidKey] = mapped_column(ForeignKey("client.id"))
    cid: Mapped[str] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customer.id"))
    activated: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
