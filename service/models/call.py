"""Call records."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from sqlalchemy import Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from service.models.base import Base, BigIntKey, Small, UuidKey


class CallRecord(Base):
    """One leg of a call; `duration` in seconds, `amount` in credit units. Partitioned by month of `start_time`.

    `event_seq` is the event in the customer's stream that charged it, if one did.
    """

    __tablename__ = "call_record"
    __table_args__ = (
        Index("call_record_by_source", "client_id", "source", "start_time", "id"),
        Index("call_record_by_customer", "client_id", "customer_id", "start_time", "id"),
        Index("call_record_unmatched", "client_id", "start_time", "id", postgresql_where=text("customer_id IS NULL")),
        Index(
            "call_record_unmatched_source",
            "client_id",
            "source",
            "start_time",
            "id",
            postgresql_where=text("customer_id IS NULL"),
        ),
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
    disposition: Mapped[str | None]
    event_seq: Mapped[int | None]


class CallLeg(Base):
    """What a call is known by, once for each client; `fingerprint` tells a repeat from another call of that name."""

    __tablename__ = "call_leg"

    client_id: Mapped[UuidKey]
    uniqueid: Mapped[str] = mapped_column(primary_key=True)
    leg: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    fingerprint: Mapped[bytes]
    start_time: Mapped[datetime]
    call_id: Mapped[int]


class CallTally(Base):
    """How many calls began in an hour or a day of UTC; the sum over its slots. Kept by triggers of `call_record`."""

    __tablename__ = "call_tally"

    client_id: Mapped[UuidKey]
    hours: Mapped[Small] = mapped_column(primary_key=True)
    starts_at: Mapped[datetime] = mapped_column(primary_key=True)
    slot: Mapped[Small] = mapped_column(primary_key=True)
    calls: Mapped[int]
