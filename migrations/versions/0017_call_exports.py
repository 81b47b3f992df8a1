"""Exports of calls, written by workers and kept in chunks for some days."""

from migrations import sql

revision = "0017_call_exports"
down_revision = "0016_import"


def upgrade() -> None:
    sql.run("0017_call_exports.sql")
