"""Migrations are SQL that you can read top to bottom; each revision runs the file beside it."""

from pathlib import Path

from alembic import op

VERSIONS = Path(__file__).parent / "versions"


def run(name: str) -> None:
    """Execute one .sql file, many statements and dollar quotes included, with nothing interpolated."""
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql((VERSIONS / name).read_text())
