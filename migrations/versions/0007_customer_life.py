"""What a customer's further life needs: how it pays, what is held, when to warn, when it expires."""

from migrations import sql

revision = "0007_customer_life"
down_revision = "0006_webhooks"


def upgrade() -> None:
    sql.run("0007_customer_life.sql")
