"""Whom texts mean: an id, a username or a caller id, all of a batch in one look-up."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, text

UNKNOWN, SEVERAL = 0, -1  # what is no customer's id


def resolve_refs(connection: Connection, client_id: uuid.UUID, refs: Iterable[str]) -> Mapping[str, int]:
    """The customer of a client that each text means: its id, or UNKNOWN, or SEVERAL. Raises Unavailable."""
    distinct = list(dict.fromkeys(refs))
    if not distinct:
        return {}
    means = connection.scalars(_RESOLVE, {"client": client_id, "refs": distinct})
    return {ref: _one_of(customers) for ref, customers in zip(distinct, means, strict=True)}


def _one_of(customers: list[int]) -> int:
    if len(customers) == 1:
        return customers[0]
    return SEVERAL if customers else UNKNOWN


_RESOLVE = text("""
    SELECT customer_resolve(:client, each.ref)
    FROM unnest(CAST(:refs AS text[])) WITH ORDINALITY AS each (ref, number) ORDER BY each.number
""")
