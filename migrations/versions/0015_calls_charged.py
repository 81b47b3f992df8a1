"""Calls are charged once, counted as they come, and looked up by customer; opening balances can be imported."""

from migrations import sql

revision = "0015_calls_charged"
down_revision = "0014_webhook_fairness"


def upgrade() -> None:
    sql.run("0015_append.sql")
    sql.run("0015_calls_charged.sql")
