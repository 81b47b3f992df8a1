"""Call records."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from sqlalchemy import Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, BigIntKey, UuidKey


class CallRecord(Base):
    """One leg of a call; `duration` in seconds, `amount` in credit units. Partitioned by month of `start_time`."""

    __tablename__ = "call_record"
    __table_args__ = (
        Index("call_record_by_source", "client_id", "source", "start_time", "id"),
        {"postgresql_partition_by": "RANGE (start_time)"},
    )

    client_id: Mapped[UuidKey]
    start_time: Mapped[datetime] = mapped_column(primary_key=True)
    id: Mapped[BigIntKey] = mapped_column(server_default=text("nextval('call_record_id'::regclass)"))
    customer_id: Mapped[int | None]
    uniqueid: Mapped[str]
    leg: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    source: Mapped[str]
    destination: Mapped[str]
    end_time: Mapped[datetime]
    duration: Mapped[int] = mapped_column(Integer)
    amount: Mapped[Decimal]
