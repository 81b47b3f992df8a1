"""Holds: credit that is put aside for what it will cost. The door makes and closes them; here they are read, and
closed when their time is over."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Engine, text

from service.db.transaction import reading
from service.ledger.append import append
from service.ledger.command import Appended, Caller, expire_hold
from service.ledger.event import hold_id, place_of
from service.ledger.refusals import hold_not_found

EXPIRED_AT_ONCE = 500  # holds of one transaction


@dataclass(frozen=True, slots=True)
class HoldView:
    """A hold, in credit units. `status`: open, captured, released or expired."""

    customer_id: int
    seq: int
    amount: Decimal
    captured: Decimal
    status: str
    expires_at: datetime

    @property
    def id(self) -> str:
        """The public id."""
        return hold_id(self.customer_id, self.seq)


def place_of_hold(public_id: str) -> tuple[int, int]:
    """Where `hold_1_42` was made. Raises NotFound for what is no hold's id."""
    place = place_of(public_id, "hold")
    if place is None:
        raise hold_not_found()
    return place


def find_hold(engine: Engine, client_id: uuid.UUID, public_id: str) -> HoldView:
    """One hold of a client; expired as soon as its time is over, though no clock has said so yet. Raises NotFound."""
    customer_id, seq = place_of_hold(public_id)
    with reading(engine) as connection:
        row = connection.execute(_FIND, {"client": client_id, "customer": customer_id, "seq": seq}).one_or_none()
    if row is None:
        raise hold_not_found()
    return HoldView(*row)


def expire_holds(engine: Engine) -> list[Appended]:
    """Close the holds whose time is over; the events that say so. Raises Unavailable.

    A hold that somebody captures at the same moment is left to them: the door refuses one of the two.
    """
    with reading(engine) as connection:
        due = connection.execute(_DUE, {"limit": EXPIRED_AT_ONCE}).all()
    commands = [expire_hold(Caller(row.client_id, "system"), (row.customer_id, row.seq)) for row in due]
    outcomes = append(engine, commands, wait=False) if commands else []
    return [outcome for outcome in outcomes if isinstance(outcome, Appended)]


_FIND = text("""
    SELECT customer_id, seq, amount, captured,
           CASE WHEN status = 'open' AND expires_at <= now() THEN 'expired' ELSE status END, expires_at
    FROM hold WHERE customer_id = :customer AND seq = :seq AND client_id = :client
""")
_DUE = text("""
    SELECT client_id, customer_id, seq FROM hold
    WHERE status = 'open' AND expires_at <= now() ORDER BY expires_at LIMIT :limit
""")
