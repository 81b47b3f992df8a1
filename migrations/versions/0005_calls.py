"""Call records, partitioned by month."""

from migrations import sql

revision = "0005_calls"
down_revision = "0004_append"


def upgrade() -> None:
    sql.run("0005_calls.sql")
