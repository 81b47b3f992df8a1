"""A customer who expired here, and whose card was renewed in A2Billing.

The clock expires customers by itself; A2Billing's own status never says so. What is only the clock's doing has to end
with its cause, or a card that somebody renewed between two runs would stay expired here for good.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from service import clock
from service.customers.create import NewCustomer

BY_DATE, AFTER_FIRST_USE, AFTER_CREATION = 1, 2, 3
AS_GOOD_AS_NEVER = 36_500  # days, as in the column expires_at
SYSTEM = "system"  # the actor of the clock


@dataclass(frozen=True, slots=True)
class Expired:
    """A customer that is expired here: by whom, when its row says so, and the dates that the row has."""

    customer_id: int
    set_by: str | None
    expires_at: datetime | None
    firstusedate: datetime | None
    creationdate: datetime | None

    @property
    def by_itself(self) -> bool:
        """Whether it was the clock, and nobody since."""
        return self.set_by == SYSTEM

    def is_renewed_by(self, card: NewCustomer) -> bool:
        """Whether the card ends in the future, or never; where somebody expired the customer, also that this is new."""
        end = self._end_by(card)
        return (end is None or end > clock.now()) and (self.by_itself or end != self.expires_at)

    def _end_by(self, card: NewCustomer) -> datetime | None:
        """What the column expires_at will be once the row follows the card."""
        if card.enableexpire == BY_DATE:
            return card.expirationdate
        if card.enableexpire == AFTER_FIRST_USE:
            return _days_after(card.firstusedate or self.firstusedate, card.expiredays)
        if card.enableexpire == AFTER_CREATION:
            return _days_after(card.creationdate or self.creationdate, card.expiredays)
        return None


def expired_among(tx: Connection, customers: Iterable[int]) -> dict[int, Expired]:
    """Those of the customers that are expired. Their heads have to be locked already: by a statement of its own, since
    one that waits for a lock sees other tables as they were before."""
    rows = tx.execute(_EXPIRED, {"ids": list(customers)})
    return {row.customer_id: Expired(*row) for row in rows}


def _days_after(begin: datetime | None, days: int) -> datetime | None:
    if begin is None or days <= 0:
        return None
    try:
        return begin + timedelta(days=min(days, AS_GOOD_AS_NEVER))
    except OverflowError:  # beyond Python's calendar, not beyond PostgreSQL's
        return None


_EXPIRED = text("""
    SELECT c.id AS customer_id,
           (SELECT actor FROM ledger_event e WHERE e.customer_id = c.id AND e.kind = 'status.set'
            ORDER BY e.seq DESC LIMIT 1) AS set_by,
           CASE WHEN c.expires_at < '9999-12-30T00:00Z' THEN c.expires_at END AS expires_at,
           c.firstusedate, c.creationdate
    FROM stream s JOIN customer c ON c.id = s.customer_id
    WHERE s.customer_id = ANY(CAST(:ids AS bigint[])) AND s.status = 5
""")
