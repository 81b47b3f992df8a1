"""Webhooks: endpoints, the deliveries owed to them, and every attempt at one."""

from migrations import sql

revision = "0006_webhooks"
down_revision = "0005_calls"


def upgrade() -> None:
    sql.run("0006_webhooks.sql")
