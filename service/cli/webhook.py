"""`flask webhook …`"""

from __future__ import annotations

import click

from service.access.keys import find_client
from service.api.context import services
from service.cli.group import Group, check_schema
from service.webhooks.endpoints import add_endpoint
from service.webhooks.payload import EVENT_TYPES
from service.webhooks.reencrypt import reencrypt as reencrypt_all

group = Group("webhook", help="Webhook endpoints of a client.", callback=check_schema)


@group.command("add")
@click.argument("client")
@click.argument("url")
@click.option(
    "--event-type",
    "event_types",
    multiple=True,
    type=click.Choice(sorted(EVENT_TYPES)),
    help="Send only these; may be given several times. Without it: all, also those to come.",
)
def add(client: str, url: str, event_types: tuple[str, ...]) -> None:
    """Send CLIENT's (a name or an id) events to URL.

    The signing secret is shown once, alone on the last line.
    """
    engine = services().engine
    endpoint_id, secret = add_endpoint(
        engine,
        find_client(engine, client),
        url,
        event_types or None,
        vault=services().vault,
        allow_networks=services().config.webhook_allow_networks,
    )
    click.echo(f"Webhook endpoint {endpoint_id}. Verify its deliveries with this secret; it is not shown again.")
    click.echo(secret)


@group.command("reencrypt")
def reencrypt() -> None:
    """Encrypt all secrets anew with the current key.

    Run it after ENCRYPTION_KEY has changed, with the key before it as ENCRYPTION_KEY_PREVIOUS (or, the first time that
    there is one, with the SECRET_KEY of before); afterwards that is not needed for secrets any more.
    """
    rewritten = reencrypt_all(services().engine, services().vault)
    click.echo(f"{rewritten} values are encrypted with the current key.")
