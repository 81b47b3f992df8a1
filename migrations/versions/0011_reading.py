"""Find where a stream stood at a moment."""

from migrations import sql

revision = "0011_reading"
down_revision = "0010_checkpoints"


def upgrade() -> None:
    sql.run("0011_reading.sql")
