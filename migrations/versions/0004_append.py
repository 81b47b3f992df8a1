"""The door: the one function that appends events."""

from migrations import sql

revision = "0004_append"
down_revision = "0003_ledger"


def upgrade() -> None:
    sql.run("0004_append.sql")
