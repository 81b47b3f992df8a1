"""Deliveries made by hand, and what became of them."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any

from sqlalchemy import Engine, text

from service.db.transaction import transaction
from service.ledger.event import Applied, Event, State
from service.webhooks.owe import owe
from service.webhooks.signing import new_secret

SECRET = new_secret()
_seqs = count(1)


def applied(client_id: uuid.UUID, **fields: Any) -> Applied:
    """An event as the apply hands it over."""
    seq = fields.pop("seq", None) or next(_seqs)
    before = fields.pop("before", State(seq - 1, Decimal("1.50000"), 1))
    values = {
        "customer_id": 1,
        "kind": "credit.set",
        "delta": Decimal("1.50000"),
        "balance_after": Decimal("3.00000"),
        "held_after": Decimal("0.00000"),
        "creditlimit_after": None,
        "refers_to": None,
        "detail": None,
        "status_after": 1,
        "reason": None,
        "reference": None,
        "actor": "key:1",
        "recorded_at": datetime.now(UTC),
    }
    return Applied(Event(seq=seq, client_id=client_id, **values | fields), before)


class Queue:
    """The deliveries of one client."""

    def __init__(self, engine: Engine, client_id: uuid.UUID) -> None:
        self.engine = engine
        self.client_id = client_id

    def endpoint(self, url: str, event_types: list[str] | None = None) -> uuid.UUID:
        """Add an endpoint without asking whether its URL is any good."""
        return self.scalar(
            "INSERT INTO webhook_endpoint (client_id, url, secret, event_types) "
            "VALUES (:client, :url, :secret, :types) RETURNING id",
            url=url,
            secret=SECRET,
            types=event_types,
        )

    def owe(self, events: int = 1, **fields: Any) -> int:
        """Owe some new events to whoever wants them."""
        with transaction(self.engine) as tx:
            return owe(tx, [applied(self.client_id, **fields) for _ in range(events)])

    def owe_to(self, url: str, events: int = 1) -> uuid.UUID:
        """Owe events to one endpoint, and only to it, so that tests can say how much each has."""
        self.run("UPDATE webhook_endpoint SET deleted_at = now() WHERE client_id = :client")
        endpoint = self.endpoint(url)
        self.owe(events)
        self.run("UPDATE webhook_endpoint SET deleted_at = NULL WHERE client_id = :client")
        return endpoint

    def statuses(self, endpoint: uuid.UUID | None = None) -> Counter[str]:
        """How many deliveries there are of each status."""
        rows = self.rows(
            "SELECT status FROM webhook_delivery WHERE client_id = :client "
            "AND endpoint_id = coalesce(CAST(:endpoint AS uuid), endpoint_id)",
            endpoint=endpoint,
        )
        return Counter(row.status for row in rows)

    def attempts(self) -> Sequence[Any]:
        """Every attempt, oldest first."""
        return self.rows("SELECT * FROM webhook_attempt WHERE client_id = :client ORDER BY started_at, number")

    def deliveries(self) -> Sequence[Any]:
        """Every delivery, oldest first."""
        return self.rows("SELECT * FROM webhook_delivery WHERE client_id = :client ORDER BY id")

    def due_again(self) -> None:
        """As if the time of every retry had come, and every pause of a breaker were over."""
        self.breakers_half_open()
        self.run(
            "UPDATE webhook_delivery SET next_attempt_at = now() - interval '1 s' "
            "WHERE client_id = :client AND status = 'pending'"
        )

    def breakers_half_open(self) -> None:
        """As if the pause of every breaker were over."""
        self.run(
            "UPDATE webhook_endpoint SET open_until = now() - interval '1 s' "
            "WHERE client_id = :client AND open_until IS NOT NULL"
        )

    def health(self, endpoint: uuid.UUID) -> Any:
        """An endpoint's row, with `pause`: the seconds until its breaker lets a probe through."""
        (row,) = self.rows(
            "SELECT *, extract(epoch FROM open_until - now()) AS pause FROM webhook_endpoint "
            "WHERE client_id = :client AND id = :endpoint",
            endpoint=endpoint,
        )
        return row

    def leases_run_out(self) -> None:
        """As if every lease had run out."""
        self.run(
            "UPDATE webhook_delivery SET lease_until = now() - interval '1 s' "
            "WHERE client_id = :client AND status = 'sending'"
        )

    def run(self, statement: str, **values: Any) -> None:
        with transaction(self.engine) as tx:
            tx.execute(text(statement), {"client": self.client_id, **values})

    def scalar(self, statement: str, **values: Any) -> Any:
        with transaction(self.engine) as tx:
            return tx.scalar(text(statement), {"client": self.client_id, **values})

    def rows(self, statement: str, **values: Any) -> Sequence[Any]:
        with transaction(self.engine) as tx:
            return tx.execute(text(statement), {"client": self.client_id, **values}).all()
