"""The order of an endpoint's deliveries, and what is old enough to be deleted."""

from migrations import sql

revision = "0013_webhook_order"
down_revision = "0012_webhook_management"


def upgrade() -> None:
    sql.run("0013_webhook_order.sql")
