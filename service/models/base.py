"""The declarative base and the column types that the tables share."""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from sqlalchemy import BigInteger, DateTime, LargeBinary, Numeric, SmallInteger, Text, Uuid
from sqlalchemy.orm import DeclarativeBase, mapped_column

# Credit has 10 digits before the point and 5 after (A2Billing's decimal(15,5)); a delta can be twice as large.
CREDIT = Numeric(15, 5)
DELTA = Numeric(16, 5)

BigIntKey = Annotated[int, mapped_column(BigInteger, primary_key=True)]
UuidKey = Annotated[uuid.UUID, mapped_column(Uuid, primary_key=True)]


class Base(DeclarativeBase):
    """Every table of the service."""

    type_annotation_map = {  # noqa: RUF012  SQLAlchemy reads this name from the class
        int: BigInteger,
        str: Text,
        bytes: LargeBinary,
        datetime: DateTime(timezone=True),
        Decimal: CREDIT,
        uuid.UUID: Uuid,
    }


Small = Annotated[int, mapped_column(SmallInteger)]
