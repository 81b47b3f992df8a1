"""`flask ledger …`"""

from __future__ import annotations

import click

from service.api.context import services
from service.cli.group import Group, check_schema
from service.doorbell import APPLY, Bell
from service.errors import NotFound
from service.ledger.drain import shard_of
from service.ledger.lag import unpark

group = Group("ledger", help="The ledger itself.", callback=check_schema)


@group.command("unpark")
@click.argument("customer_id", metavar="CUSTOMER_ID", type=click.IntRange(1, 2**63 - 1))
def unpark_customer(customer_id: int) -> None:
    """Have the workers try again a customer whose events they had to leave."""
    if not unpark(services().engine, customer_id):
        raise NotFound(f"customer {customer_id} is not parked")
    services().doorbell.ring(Bell(APPLY, shard_of(customer_id)))
    click.echo(f"Customer {customer_id} will be tried again.")
