"""The door, for all commands of a customer's life."""

from migrations import sql

revision = "0009_append"
down_revision = "0008_safe_writes"


def upgrade() -> None:
    sql.run("0009_effects.sql")
    sql.run("0009_append.sql")
