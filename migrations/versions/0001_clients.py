"""Clients and their API keys."""

from migrations import sql

revision = "0001_clients"
down_revision = None


def upgrade() -> None:
    sql.run("0001_clients.sql")
