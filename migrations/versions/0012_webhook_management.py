"""What subscribers can say of their endpoints, and what is known of an endpoint's health."""

from migrations import sql

revision = "0012_webhook_management"
down_revision = "0011_reading"


def upgrade() -> None:
    sql.run("0012_webhook_management.sql")
