"""The next deliveries of endpoints that want each customer's events in order.

Of each customer only the head may go: the earliest delivery that is neither delivered nor given up. It is found by one
descent of an index from customer to customer, so a customer with thousands behind a head that waits for its retry is
one step, like an endpoint in the claim's own walk. A claim looks at WINDOW customers of an endpoint, and the next one
goes on where it ended. Messages about no customer (a test, an endpoint that was disabled) have no order to keep.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, TextClause, text

from service.webhooks.allot import Address

WINDOW = 64  # customers of one endpoint that a claim looks at
_START = 0  # before every customer; 0 itself is nobody

Customers = dict[Address, int]  # the customer of each endpoint that had the last turn


@dataclass(frozen=True, slots=True)
class _Head:
    customer_id: int
    id: uuid.UUID
    ready: bool


def lock_heads(
    tx: Connection, priority: int, quotas: Mapping[Address, int], last: Customers
) -> list[tuple[Address, uuid.UUID]]:
    """Lock the heads that are due, for each endpoint up to its quota; `last` is moved on."""
    about_nobody = list(_locked(tx, _LOCK_ABOUT_NOBODY, _columns(quotas) | {"priority": priority}))
    taken = Counter(address for address, _ in about_nobody)
    left = {address: quota - taken[address] for address, quota in quotas.items() if quota > taken[address]}
    return about_nobody + _lock_customers_heads(tx, priority, left, last)


def _lock_customers_heads(
    tx: Connection, priority: int, quotas: Mapping[Address, int], last: Customers
) -> list[tuple[Address, uuid.UUID]]:
    walks = _walk(tx, priority, quotas, {address: last.get(address, _START) for address in quotas})
    again = {a: quotas[a] - _ready(walks[a]) for a in quotas if _ended(walks[a], quotas[a]) and a in last}
    rounds = _walk(tx, priority, again, dict.fromkeys(again, _START)) if again else {}
    for address, heads in rounds.items():
        walks[address] += [head for head in heads if head.customer_id <= last[address]]
    for address, heads in walks.items():
        if heads:
            last[address] = heads[-1].customer_id
    ready = [(address, head.id) for address, heads in walks.items() for head in heads if head.ready]
    keys = {"clients": [address.client_id for address, _ in ready], "ids": [head for _, head in ready]}
    return list(_locked(tx, _LOCK, keys)) if ready else []


def _ready(heads: list[_Head]) -> int:
    return sum(head.ready for head in heads)


def _ended(heads: list[_Head], quota: int) -> bool:
    """Whether a walk came to the last customer, and has room for those at the start."""
    return len(heads) < WINDOW and _ready(heads) < quota


def _walk(
    tx: Connection, priority: int, quotas: Mapping[Address, int], after: Mapping[Address, int]
) -> dict[Address, list[_Head]]:
    walks: dict[Address, list[_Head]] = {address: [] for address in quotas}
    parameters = {
        "priority": priority,
        "window": WINDOW,
        **_columns(quotas),
        "after": [after[address] for address in quotas],
    }
    for row in tx.execute(_HEADS, parameters):
        walks[Address(row.client_id, row.endpoint_id)].append(_Head(row.customer_id, row.id, row.ready))
    return {address: sorted(heads, key=lambda head: head.customer_id) for address, heads in walks.items()}


def _columns(quotas: Mapping[Address, int]) -> dict[str, Sequence[object]]:
    return {
        "clients": [address.client_id for address in quotas],
        "endpoints": [address.endpoint_id for address in quotas],
        "quotas": list(quotas.values()),
    }


def _locked(
    tx: Connection, statement: TextClause, parameters: Mapping[str, object]
) -> Iterator[tuple[Address, uuid.UUID]]:
    for row in tx.execute(statement, parameters):
        yield Address(row.client_id, row.endpoint_id), row.id


_HEADS = text("""
    SELECT allotted.client_id, allotted.endpoint_id, head.customer_id, head.id, head.ready
    FROM unnest(CAST(:clients AS uuid[]), CAST(:endpoints AS uuid[]), CAST(:quotas AS int[]), CAST(:after AS bigint[]))
         AS allotted (client_id, endpoint_id, quota, after)
    CROSS JOIN LATERAL (
        WITH RECURSIVE heads AS (
            SELECT allotted.after AS customer_id, CAST(NULL AS uuid) AS id, false AS ready, 0 AS nth, 0 AS found
            UNION ALL
            SELECT next.customer_id, next.id, next.ready, heads.nth + 1, heads.found + CAST(next.ready AS int)
            FROM heads CROSS JOIN LATERAL (
                SELECT d.customer_id, d.id, d.status = 'pending' AND d.priority = :priority
                                            AND d.next_attempt_at <= now() AS ready
                FROM webhook_delivery d
                WHERE d.status IN ('pending', 'sending') AND d.client_id = allotted.client_id
                  AND d.endpoint_id = allotted.endpoint_id AND d.customer_id > heads.customer_id
                ORDER BY d.customer_id, d.seq, d.id LIMIT 1
            ) AS next
            WHERE heads.nth < :window AND heads.found < allotted.quota
        )
        SELECT customer_id, id, ready FROM heads WHERE nth > 0
    ) AS head
""")
_LOCK = text("""
    SELECT d.client_id, d.endpoint_id, d.id
    FROM unnest(CAST(:clients AS uuid[]), CAST(:ids AS uuid[])) AS head (client_id, id)
    JOIN webhook_delivery d ON d.client_id = head.client_id AND d.id = head.id
    WHERE d.status = 'pending'
    FOR UPDATE OF d SKIP LOCKED
""")
_LOCK_ABOUT_NOBODY = text("""
    SELECT due.client_id, due.endpoint_id, due.id
    FROM unnest(CAST(:clients AS uuid[]), CAST(:endpoints AS uuid[]), CAST(:quotas AS int[]))
         AS allotted (client_id, endpoint_id, quota)
    CROSS JOIN LATERAL (
        SELECT d.client_id, d.endpoint_id, d.id FROM webhook_delivery d
        WHERE d.status IN ('pending', 'sending') AND d.client_id = allotted.client_id
          AND d.endpoint_id = allotted.endpoint_id AND d.customer_id = 0
          AND d.status = 'pending' AND d.priority = :priority AND d.next_attempt_at <= now()
        ORDER BY d.seq, d.id LIMIT allotted.quota
        FOR UPDATE SKIP LOCKED
    ) AS due
""")
