"""The groups of cards, by their ids and names."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

from service.a2billing.batch import Batch
from service.a2billing.convert import Group
from service.a2billing.report import Outcome


def bring_groups(tx: Connection, batch: Batch, groups: Sequence[Group]) -> Outcome:
    """Write the groups that are new or have another name now."""
    ids = [group.id for group in groups]
    known = {row.id: row.name for row in tx.execute(_KNOWN, {"client": batch.client_id, "ids": ids})}
    write = [group for group in groups if known.get(group.id) != group.name]
    if write and not batch.dry:
        values = {"ids": [group.id for group in write], "names": [group.name for group in write]}
        tx.execute(_WRITE, {"client": batch.client_id, **values})
    changed = sum(group.id in known for group in write)
    return Outcome(new=len(write) - changed, there=len(groups) - len(write), changed=changed)


_KNOWN = text("SELECT id, name FROM customer_group WHERE client_id = :client AND id = ANY(CAST(:ids AS bigint[]))")
_WRITE = text("""
    INSERT INTO customer_group (client_id, id, name)
    SELECT :client, * FROM unnest(CAST(:ids AS bigint[]), CAST(:names AS text[]))
    ON CONFLICT (client_id, id) DO UPDATE SET name = excluded.name
""")
