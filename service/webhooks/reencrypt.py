"""Everything that lies encrypted in the database, written anew with the current key: `flask webhook reencrypt`.

One transaction, since endpoints are few. A value that can't be opened ends it, and nothing is changed; one that nobody
will ever need is not opened: an old secret whose time is over is erased, a deleted endpoint left out.
"""

from __future__ import annotations

from sqlalchemy import Connection, Engine, text

from service.db.transaction import transaction
from service.webhooks.vault import MARK, Vault


def reencrypt(engine: Engine, vault: Vault) -> int:
    """Rewrite every endpoint's secrets and headers, and kept answers that show a secret; how many values.

    Raises Unreadable where none of the keys opens one.
    """
    with transaction(engine) as tx:
        return _endpoints(tx, vault) + _answers(tx, vault)


def _endpoints(tx: Connection, vault: Vault) -> int:
    tx.execute(_ERASE_OLD)
    count = 0
    for row in tx.execute(_ENDPOINTS).all():
        sealed = {"secret": row.secret, "previous_secret": row.previous_secret, "headers": row.headers}
        count += sum(value is not None for value in sealed.values())
        anew = {name: None if value is None else vault.reseal(value) for name, value in sealed.items()}
        tx.execute(_WRITE_ENDPOINT, {"client": row.client_id, "id": row.id, **anew})
    return count


def _answers(tx: Connection, vault: Vault) -> int:
    rows = tx.execute(_ANSWERS, {"mark": MARK.encode()}).all()
    for row in rows:
        body = vault.seal_bytes(vault.open_bytes(bytes(row.body)))
        tx.execute(_WRITE_ANSWER, {"client": row.client_id, "key": row.key, "body": body})
    return len(rows)


_ERASE_OLD = text("""
    UPDATE webhook_endpoint SET previous_secret = NULL, previous_secret_until = NULL
    WHERE previous_secret_until <= now()
""")
_ENDPOINTS = text("""
    SELECT client_id, id, secret, previous_secret, headers FROM webhook_endpoint WHERE deleted_at IS NULL FOR UPDATE
""")
_WRITE_ENDPOINT = text("""
    UPDATE webhook_endpoint SET secret = :secret, previous_secret = :previous_secret, headers = :headers
    WHERE client_id = :client AND id = :id
""")
_ANSWERS = text("""
    SELECT client_id, key, body FROM idempotency_key
    WHERE substring(body FROM 1 FOR 3) = CAST(:mark AS bytea) FOR UPDATE
""")
_WRITE_ANSWER = text("UPDATE idempotency_key SET body = :body WHERE client_id = :client AND key = :key")
