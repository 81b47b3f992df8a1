"""What a customer's row has of a card beside its names and what the ledger keeps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from service.clock import rfc3339
from service.customers.create import NewCustomer


def profile_of(new: NewCustomer) -> bytes:
    """SHA-256 of a card's profile: another where anything of it has changed."""
    dates = (new.creationdate, new.firstusedate, new.expirationdate, new.lastuse)
    content = (
        new.activated, new.type_paid, new.id_group, new.enableexpire, new.expiredays, *map(_written, dates)
    )  # fmt: skip
    return hashlib.sha256(json.dumps(content).encode()).digest()


def profile_columns(new: Sequence[NewCustomer]) -> dict[str, list[Any]]:
    """The profiles of many, column by column."""
    return {
        "activated": [each.activated for each in new],
        "types": [each.type_paid for each in new],
        "groups": [each.id_group for each in new],
        "enableexpires": [each.enableexpire for each in new],
        "expiredays": [each.expiredays for each in new],
        "created": [each.creationdate for each in new],
        "first_uses": [each.firstusedate for each in new],
        "expirations": [each.expirationdate for each in new],
        "last_uses": [each.lastuse for each in new],
    }


def write_profiles(tx: Connection, new: dict[int, NewCustomer]) -> None:
    """Bring customers' rows up to their cards, by customer id. Calls that were charged here since still count."""
    tx.execute(_WRITE, {"ids": list(new), **profile_columns(list(new.values()))})


def _written(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)


_WRITE = text("""
    UPDATE customer c
    SET activated = card.activated, type_paid = card.type_paid, id_group = card.id_group,
        enableexpire = card.enableexpire, expiredays = card.expiredays,
        creationdate = coalesce(card.created, c.creationdate), expirationdate = card.expiration,
        firstusedate = coalesce(card.first_use, c.firstusedate), lastuse = greatest(c.lastuse, card.last_use)
    FROM unnest(
        CAST(:ids AS bigint[]), CAST(:activated AS bool[]), CAST(:types AS smallint[]), CAST(:groups AS bigint[]),
        CAST(:enableexpires AS smallint[]), CAST(:expiredays AS int[]), CAST(:created AS timestamptz[]),
        CAST(:first_uses AS timestamptz[]), CAST(:expirations AS timestamptz[]), CAST(:last_uses AS timestamptz[])
    ) AS card (id, activated, type_paid, id_group, enableexpire, expiredays, created, first_use, expiration, last_use)
    WHERE c.id = card.id
""")
