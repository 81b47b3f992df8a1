"""What a webhook endpoint is judged by, and what a delivery that is sent again has left."""

from migrations import sql

revision = "0014_webhook_fairness"
down_revision = "0013_webhook_order"


def upgrade() -> None:
    sql.run("0014_webhook_fairness.sql")
