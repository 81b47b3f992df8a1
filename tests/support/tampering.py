"""What somebody can do who owns the database: change what is guarded, and work the hashes out anew."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from service.db.transaction import transaction
from service.ledger.proof.chain import hash_of
from service.ledger.proof.replay import Break
from service.ledger.proof.verify import verify
from tests.conftest import SECRET
from tests.support import servers
from tests.support.ledger import as_text, events

AWKWARD = 'tab\t newline\n backslash\\ quote" backspace\b vertical\v control\x01\x1f nạp tiền \U0001f4b6 \\N \\b'
ROOT = Path(__file__).resolve().parents[2]
GUARDED = ("ledger_event", "customer", "stream")


def tamper(engine: Engine, *statements: str, **parameters: Any) -> None:
    """Run statements as a superuser, with every trigger disabled that is in the way."""
    with transaction(engine) as tx:
        for table in GUARDED:
            tx.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER ALL"))
        for statement in statements:
            tx.execute(text(statement), parameters)
        for table in GUARDED:
            tx.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER ALL"))
        tx.execute(text("ALTER TABLE ledger_event ENABLE ALWAYS TRIGGER append_only"))


def rehash(engine: Engine, customer: int) -> None:
    """Work out all hashes of a stream anew, with the head to fit."""
    previous = b""
    for event in events(engine, customer):
        previous = hash_of(previous, as_text(engine, customer, event.seq))
        tamper(
            engine,
            "UPDATE ledger_event SET hash = :hash WHERE customer_id = :id AND seq = :seq",
            hash=previous, id=customer, seq=event.seq,
        )  # fmt: skip
    tamper(engine, "UPDATE stream SET last_hash = :hash WHERE customer_id = :id", hash=previous, id=customer)


def fit_head(engine: Engine, customer: int) -> None:
    """Make head, projection, change log and outbox say what the events say now, as far as there are any."""
    tamper(
        engine,
        """UPDATE stream s SET last_seq = e.seq, balance = e.balance_after, held = e.held_after, last_hash = e.hash,
               status = e.status_after, last_at = e.recorded_at, last_position = e.position
           FROM ledger_event e WHERE s.customer_id = :id AND e.customer_id = :id
             AND e.seq = (SELECT max(seq) FROM ledger_event WHERE customer_id = :id)""",
        """UPDATE customer c SET credit = s.balance, held = s.held, status = s.status, applied_seq = s.last_seq
           FROM stream s WHERE c.id = :id AND s.customer_id = :id""",
        "DELETE FROM outbox WHERE customer_id = :id",
        "DELETE FROM change_log l USING stream s WHERE l.customer_id = :id AND s.customer_id = :id AND seq > last_seq",
        id=customer,
    )


def run_flask(url: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`flask …` as an operator runs it, on a database."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CHECKPOINT", "PROMETHEUS"))}
    own = {"DATABASE_URL": url, "REDIS_URL": servers.redis_url(1), "SECRET_KEY": SECRET, "LOG_LEVEL": "CRITICAL"}
    return subprocess.run(
        [Path(sys.executable).with_name("flask"), *words],
        cwd=ROOT, env={**kept, **own, **environment}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def broken(engine: Engine, **options: Any) -> Break:
    """The first thing that does not hold."""
    with pytest.raises(Break) as caught:
        verify(engine, **options)
    return caught.value
