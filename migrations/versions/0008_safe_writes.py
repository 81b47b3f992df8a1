"""Holds, references, idempotency keys, and a place for each event in its client's feed."""

from migrations import sql

revision = "0008_safe_writes"
down_revision = "0007_customer_life"


def upgrade() -> None:
    sql.run("0008_safe_writes.sql")
