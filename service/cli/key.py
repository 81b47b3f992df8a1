"""`flask key …`"""

from __future__ import annotations

from datetime import datetime

import click

from service import clock
from service.access.keys import create_key, find_client, revoke_key
from service.access.scopes import ALL_SCOPES, Scope
from service.api.context import services
from service.calls.period import read_moment
from service.cli.group import Group, check_schema

group = Group("key", help="API keys of a client.", callback=check_schema)


class Moment(click.ParamType[datetime]):
    """A moment to come: `YYYY-MM-DD HH:MM:SS` in TIMEZONE, or RFC 3339."""

    name = "moment"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read the text; a moment that has passed is refused."""
        try:
            moment = read_moment(value, services().config.timezone)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if moment <= clock.now():
            self.fail("lies in the past", param, ctx)
        return moment


@group.command("create")
@click.argument("client")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([scope.value for scope in ALL_SCOPES]),
    help="What the key may do; may be given several times. Without it: everything.",
)
@click.option("--expires", type=Moment(), help="When the key ends, as 2030-01-31 00:00:00 or in RFC 3339.")
def create(client: str, scopes: tuple[str, ...], expires: datetime | None) -> None:
    """Create an API key for CLIENT (a name or an id).

    The key is shown once, alone on the last line.
    """
    engine = services().engine
    chosen = [Scope(scope) for scope in scopes] or list(ALL_SCOPES)
    key_id, key = create_key(engine, find_client(engine, client), chosen, expires)
    click.echo(f"API key {key_id}, with {', '.join(chosen)}. Keep it: it is not shown again.")
    click.echo(key)


@group.command("revoke")
@click.argument("key_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
def revoke(key_id: int) -> None:
    """End the API key ID; its tokens end within five seconds."""
    revoke_key(services().engine, key_id)
    click.echo(f"API key {key_id} is revoked.")
