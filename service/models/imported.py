"""What was brought over from A2Billing, under the ids that it has there."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from sqlalchemy import ForeignKey, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, BigIntKey, Small, UuidKey


class CustomerGroup(Base):
    """A group of customers: what `customer.id_group` names."""

    __tablename__ = "customer_group"

    client_id: Mapped[UuidKey] = mapped_column(ForeignKey("client.id"))
    id: Mapped[BigIntKey] = mapped_column(autoincrement=False)
    name: Mapped[str]


class ImportedCard(Base):
    """The customer that a card became, and what the card was when it was last brought."""

    __tablename__ = "imported_card"
    __table_args__ = (Index("imported_card_by_customer", "customer_id"),)

    client_id: Mapped[UuidKey]
    card_id: Mapped[BigIntKey] = mapped_column(autoincrement=False)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customer.id"))
    username: Mapped[str]
    useralias: Mapped[str]
    credit: Mapped[Decimal]
    status: Mapped[Small]
    creditlimit: Mapped[Decimal | None]
    credit_notification: Mapped[Decimal | None]
    profile: Mapped[bytes]
    imported_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class ImportedCallerId(Base):
    """A caller id as it was brought."""

    __tablename__ = "imported_caller_id"

    client_id: Mapped[UuidKey]
    callerid_id: Mapped[BigIntKey] = mapped_column(autoincrement=False)
    card_id: Mapped[int]
    cid: Mapped[str]
    activated: Mapped[bool]


class ImportedCall(Base):
    """A call that is among the call records; `fingerprint` tells whether it has changed since."""

    __tablename__ = "imported_call"

    client_id: Mapped[UuidKey]
    call_id: Mapped[BigIntKey] = mapped_column(autoincrement=False)
    fingerprint: Mapped[bytes]


class ImportedRefill(Base):
    """What was paid in before the import; in credit units. It is in the imported credit already."""

    __tablename__ = "imported_refill"
    __table_args__ = (Index("imported_refill_by_customer", "customer_id", "refilled_at"),)

    client_id: Mapped[UuidKey]
    refill_id: Mapped[BigIntKey] = mapped_column(autoincrement=False)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customer.id"))
    refilled_at: Mapped[datetime | None]
    credit: Mapped[Decimal]
    description: Mapped[str]
    refill_type: Mapped[int | None] = mapped_column(Integer)
