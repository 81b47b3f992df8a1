"""What was imported from A2Billing, so that it is recognised when it is met again."""

from migrations import sql

revision = "0016_import"
down_revision = "0015_calls_charged"


def upgrade() -> None:
    sql.run("0016_import.sql")
