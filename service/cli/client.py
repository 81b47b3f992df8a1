"""`flask client …`"""

from __future__ import annotations

import click

from service.access.keys import create_client
from service.api.context import services
from service.cli.group import Group, check_schema

group = Group("client", help="Clients: the tenants of the API.", callback=check_schema)


@group.command("create")
@click.argument("name")
def create(name: str) -> None:
    """Create a client; its id is printed."""
    click.echo(create_client(services().engine, name))
