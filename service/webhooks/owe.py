"""The deliveries that a batch of applied events entails.

Called by the apply in its own transaction: a delivery is owed if and only if its event is applied. Two statements for a
batch of hundreds; one, where no client of the batch has an endpoint.
"""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from service.ledger.event import Applied, Event
from service.webhooks.payload import Message, event_types, message

_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class _Subscription:
    endpoint_id: uuid.UUID
    event_types: frozenset[str] | None
    enabled: bool

    def wants(self, event_type: str) -> bool:
        return self.event_types is None or event_type in self.event_types


_Owed = tuple[_Subscription, Event, Message]


def owe(connection: Connection, applied: Sequence[Applied]) -> int:
    """Write a delivery for each applied event and each endpoint that wants it; how many are new, and to be sent.

    What a disabled endpoint would have got is written down as skipped, so that it can be replayed.

    An event that was owed before is not owed twice (a unique constraint says so), so a repeated call does no harm.
    """
    subscriptions = _subscriptions(connection, {a.event.client_id for a in applied})
    owed = list(_owed(applied, subscriptions)) if subscriptions else []
    return _insert(connection, owed) if owed else 0


def _subscriptions(connection: Connection, clients: set[uuid.UUID]) -> Mapping[uuid.UUID, list[_Subscription]]:
    by_client: dict[uuid.UUID, list[_Subscription]] = defaultdict(list)
    for row in connection.execute(_SUBSCRIPTIONS, {"clients": list(clients)}):
        types = None if row.event_types is None else frozenset(row.event_types)
        by_client[row.client_id].append(_Subscription(row.id, types, row.disabled_at is None))
    return by_client


def _owed(applied: Sequence[Applied], by_client: Mapping[uuid.UUID, list[_Subscription]]) -> Iterator[_Owed]:
    for one in applied:
        for event_type in event_types(one):
            wanting = [s for s in by_client.get(one.event.client_id, ()) if s.wants(event_type)]
            if wanting:
                told = message(one, event_type)
                for subscription in wanting:
                    yield subscription, one.event, told


def _insert(connection: Connection, owed: Sequence[_Owed]) -> int:
    pending = connection.scalar(
        _INSERT,
        {
            "ids": uuid7s(len(owed)),
            "endpoints": [subscription.endpoint_id for subscription, _, _ in owed],
            "clients": [event.client_id for _, event, _ in owed],
            "customers": [event.customer_id for _, event, _ in owed],
            "seqs": [event.seq for _, event, _ in owed],
            "types": [told.event_type for _, _, told in owed],
            "webhook_ids": [told.webhook_id for _, _, told in owed],
            "enabled": [subscription.enabled for subscription, _, _ in owed],
            "bodies": [told.body for _, _, told in owed],
        },
    )
    assert isinstance(pending, int)
    return pending


def uuid7s(count: int) -> list[uuid.UUID]:
    """Version 7 UUIDs, rising in the order of the list (RFC 9562, method 3: the fraction of the millisecond).

    Rising ids keep the primary key's inserts on one page and let a list of deliveries page by its key.
    """
    start = time.time_ns() * 4096 // _NS_PER_MS  # 48 bits of milliseconds, 12 of their fraction
    return [_uuid7(start + offset) for offset in range(count)]


def _uuid7(ticks: int) -> uuid.UUID:
    tail = uuid.uuid4().int & (1 << 64) - 1  # the variant bits of version 4 and its 62 random ones
    return uuid.UUID(int=(ticks >> 12) << 80 | 0x7 << 76 | (ticks & 0xFFF) << 64 | tail)


_SUBSCRIPTIONS = text("""
    SELECT client_id, id, event_types, disabled_at FROM webhook_endpoint
    WHERE client_id = ANY(CAST(:clients AS uuid[])) AND deleted_at IS NULL
    ORDER BY client_id, id
""")
_INSERT = text("""
    WITH written AS (
        INSERT INTO webhook_delivery (client_id, id, endpoint_id, customer_id, seq, event_type, webhook_id, body,
                                      status, next_attempt_at, finished_at)
        SELECT client_id, id, endpoint_id, customer_id, seq, event_type, webhook_id, body,
               CASE WHEN enabled THEN 'pending' ELSE 'skipped' END,
               CASE WHEN enabled THEN now() END, CASE WHEN NOT enabled THEN now() END
        FROM unnest(
            CAST(:clients AS uuid[]), CAST(:ids AS uuid[]), CAST(:endpoints AS uuid[]), CAST(:customers AS bigint[]),
            CAST(:seqs AS bigint[]), CAST(:types AS text[]), CAST(:webhook_ids AS text[]), CAST(:bodies AS bytea[]),
            CAST(:enabled AS bool[])
        ) AS owed (client_id, id, endpoint_id, customer_id, seq, event_type, webhook_id, body, enabled)
        ON CONFLICT DO NOTHING
        RETURNING status
    )
    SELECT count(*) FILTER (WHERE status = 'pending') FROM written
""")
