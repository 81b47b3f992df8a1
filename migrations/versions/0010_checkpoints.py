"""Signed checkpoints: what the ledger was at a moment, sealed with a key that the database does not have."""

from migrations import sql

revision = "0010_checkpoints"
down_revision = "0009_append"


def upgrade() -> None:
    sql.run("0010_checkpoints.sql")
