"""What a customer has, now or at any moment before."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Engine, text

from service.db.transaction import reading
from service.errors import NotFound
from service.ledger.event import Status
from service.ledger.statement import the_one


class NotThereYet(NotFound):
    """At that time the customer had no event yet."""

    sentence = "the customer did not exist at that time"


@dataclass(frozen=True, slots=True)
class Balance:
    """What a customer has at a moment, after `seq` events. Money is in credit units."""

    customer_id: int
    credit: Decimal
    held: Decimal
    creditlimit: Decimal | None
    status: int
    seq: int
    at: datetime

    @property
    def available(self) -> Decimal:
        """What can be taken or held."""
        return self.credit - self.held + (self.creditlimit or 0)


@dataclass(frozen=True, slots=True)
class BalanceNow(Balance):
    """The same at this moment, and below which credit the customer counts as low."""

    credit_notification: Decimal | None


def balance_now(engine: Engine, client_id: uuid.UUID, ref: str) -> BalanceNow:
    """What a customer has now: read from the head of its stream, so that whoever wrote sees what it wrote.

    A hold whose time is over holds nothing, though the clock may not have closed it yet: an append sees it the same
    way. So is a customer expired whose time is over, though the event that says so is not written yet.
    Raises CustomerNotFound, AmbiguousReference.
    """
    with reading(engine) as connection:
        rows = connection.execute(_NOW, {"client": client_id, "ref": ref, **_STATUSES}).all()
    return BalanceNow(*the_one(rows, ref))


def balance_at(engine: Engine, client_id: uuid.UUID, ref: str, moment: datetime) -> Balance:
    """What a customer had at a moment, by its events alone: what was under way just then may come in yet.

    Events from before limits were recorded know none; for them it is the limit that the customer has now. Raises
    CustomerNotFound, AmbiguousReference, NotThereYet.
    """
    with reading(engine) as connection:
        rows = connection.execute(_AT, {"client": client_id, "ref": ref, "moment": moment}).all()
    row = the_one(rows, ref)
    if row.seq is None:
        raise NotThereYet
    return Balance(*row)


_STATUSES = {"active": int(Status.ACTIVE), "expired": int(Status.EXPIRED)}
# The moment is never before that of the last event, even if the server's clock was set back.
_NOW = text("""
    SELECT s.customer_id, s.balance,
           s.held - coalesce((SELECT sum(h.amount) FROM hold h
                              WHERE h.customer_id = s.customer_id AND h.status = 'open' AND h.expires_at <= now.at), 0),
           s.creditlimit,
           CASE WHEN s.status = :active AND c.expires_at <= now.at
                     AND (s.status_at IS NULL OR s.status_at < c.expires_at) THEN :expired ELSE s.status END,
           s.last_seq, now.at, s.credit_notification
    FROM stream s JOIN customer c ON c.id = s.customer_id,
         LATERAL (SELECT greatest(statement_timestamp(), s.last_at) AS at) AS now
    WHERE s.customer_id = ANY (customer_resolve(:client, :ref)) LIMIT 2
""")
_AT = text("""
    SELECT s.customer_id, e.balance_after, e.held_after,
           CASE WHEN e.hash_format = 1 THEN s.creditlimit ELSE e.creditlimit_after END,
           e.status_after, e.seq, CAST(:moment AS timestamptz)
    FROM stream s LEFT JOIN ledger_event e
         ON e.customer_id = s.customer_id AND e.seq = ledger_seq_at(s.customer_id, CAST(:moment AS timestamptz))
    WHERE s.customer_id = ANY (customer_resolve(:client, :ref)) LIMIT 2
""")
