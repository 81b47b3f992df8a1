"""Customers expire by themselves: by date, so many days after their first use, or after their creation (A2Billing's
`enableexpire` 1, 2, 3; the column `expires_at` works it out).

A status that somebody sets after that moment stands: who is made active again by hand stays active.
"""

from __future__ import annotations

from sqlalchemy import Engine, text

from service.db.transaction import reading
from service.ledger.append import append
from service.ledger.command import Appended, Caller, Why, set_status
from service.ledger.event import Status

EXPIRED_AT_ONCE = 500  # customers of one transaction
REASON = "expired by itself (enableexpire)"


def expire_customers(engine: Engine) -> list[Appended]:
    """Set the status of customers whose time is over; the events that say so. Raises Unavailable.

    A customer that changes at the same moment is left to the next turn: the command names the seq that it goes by.
    """
    with reading(engine) as connection:
        due = connection.execute(_DUE, {"limit": EXPIRED_AT_ONCE}).all()
    commands = [
        set_status(Caller(row.client_id, "system"), f"id:{row.id}", Status.EXPIRED, Why(REASON, expected=row.last_seq))
        for row in due
    ]
    outcomes = append(engine, commands, wait=False) if commands else []
    return [outcome for outcome in outcomes if isinstance(outcome, Appended)]


# The first condition is what the index is made for; the others look at what was accepted last.
_DUE = text("""
    SELECT c.client_id, c.id, s.last_seq
    FROM customer c JOIN stream s ON s.customer_id = c.id
    WHERE c.status = 1 AND (c.status_at IS NULL OR c.status_at < c.expires_at) AND c.expires_at <= now()
      AND s.status = 1 AND s.last_seq > 0 AND (s.status_at IS NULL OR s.status_at < c.expires_at)
    ORDER BY c.expires_at LIMIT :limit
""")
