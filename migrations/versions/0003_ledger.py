"""The ledger: streams, events, outbox, change log, and the guards that keep events as they are."""

from migrations import sql

revision = "0003_ledger"
down_revision = "0002_customers"


def upgrade() -> None:
    sql.run("0003_ledger.sql")
