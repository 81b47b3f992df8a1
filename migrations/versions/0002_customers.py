"""Customers, their caller ids, and how a reference finds them."""

from migrations import sql

revision = "0002_customers"
down_revision = "0001_clients"


def upgrade() -> None:
    sql.run("0002_customers.sql")
