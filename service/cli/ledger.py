"""`flask ledger …`"""

from __future__ import annotations

import click

from service.access.keys import find_client
from service.api.context import services
from service.cli.group import Group, check_schema
from service.cli.progress import progress_bar
from service.clock import rfc3339
from service.doorbell import APPLY, Bell
from service.errors import Invalid, NotFound
from service.ledger.drain import SHARDS, shard_of
from service.ledger.lag import unpark
from service.ledger.proof.checkpoint import Checkpoint, CheckpointKeys, make_checkpoint
from service.ledger.proof.history import Selection
from service.ledger.proof.rebase import rebase
from service.ledger.proof.rebuild import count_customers, rebuild
from service.ledger.proof.replay import Break
from service.ledger.proof.verify import count_events, verify

ID = click.IntRange(1, 2**63 - 1)

group = Group("ledger", help="The ledger itself.", callback=check_schema)


@group.command("unpark")
@click.argument("customer_id", metavar="CUSTOMER_ID", type=ID)
def unpark_customer(customer_id: int) -> None:
    """Have the workers try again a customer whose events they had to leave."""
    if not unpark(services().engine, customer_id):
        raise NotFound(f"customer {customer_id} is not parked")
    services().doorbell.ring(Bell(APPLY, shard_of(customer_id)))
    click.echo(f"Customer {customer_id} will be tried again.")


@group.command("verify")
@click.option("--client", metavar="NAME_OR_ID", help="Only this client's customers.")
@click.option("--customer", metavar="ID", type=ID, help="Only this customer.")
@click.option(
    "--checkpoint", "at_least", metavar="NUMBER", type=ID, default=None, help="There must be this checkpoint, at least."
)
def verify_ledger(client: str | None, customer: int | None, at_least: int | None) -> None:
    """Prove that the ledger holds, while it is in use.

    Plays every event again and compares hashes, sums, heads, the customers' rows, holds and checkpoints. Status 1 and
    the first thing that is wrong, or 0.
    """
    engine, selection = services().engine, _selection(client, customer)
    try:
        with progress_bar("verifying events", count_events(engine, selection)) as progress:
            found = verify(engine, selection, keys=_keys(), at_least=at_least or 0, progress=progress)
    except Break as broken:
        raise click.ClickException(broken.sentence) from None
    click.echo(f"{found.customers} customers with {found.events} events: everything holds.")
    click.echo(_told(found.checkpoint) if found.checkpoint else _NO_CHECKPOINT)


@group.command("checkpoint")
def seal_ledger() -> None:
    """Seal the ledger as it is now. Keep number and signature where the database's owner can't change them."""
    keys = _keys()
    if keys is None:
        raise Invalid("a checkpoint needs a key: CHECKPOINT_KEY is not set")
    engine = services().engine
    try:
        with progress_bar("following events", count_events(engine)) as progress:
            made = make_checkpoint(engine, keys, progress=progress)
    except Break as broken:
        raise click.ClickException(broken.sentence) from None
    assert made is not None
    click.echo(_told(made))
    click.echo(made.signature.hex())


@group.command("rebuild")
@click.option("--client", metavar="NAME_OR_ID", help="Only this client's customers.")
@click.option("--customer", metavar="ID", type=ID, help="Only this customer.")
def rebuild_projection(client: str | None, customer: int | None) -> None:
    """Build the customers' rows (credit, held, status, limits) anew from their events, while they are in use.

    Only what is wrong is changed. Verify the ledger first: the events are believed.
    """
    engine, selection = services().engine, _selection(client, customer)
    with progress_bar("rebuilding customers", count_customers(engine, selection)) as progress:
        done = rebuild(engine, selection, progress)
    if customer is not None and not done.customers:
        raise NotFound(f"there is no customer {customer}")
    if done.corrected or done.queued:
        for shard in range(SHARDS):
            services().doorbell.ring(Bell(APPLY, shard))
    click.echo(
        f"{done.customers} customers: {done.corrected} corrected, {done.logged} change log rows, "
        f"{done.queued} outbox rows and {done.booked} references added."
    )


@group.command("rebase")
def rebase_feed() -> None:
    """After a dump was restored into a new cluster: put the feed's positions above those of the events in it."""
    base = rebase(services().engine)
    click.echo("Nothing to do." if base is None else f"New positions begin above {base}.")


_NO_CHECKPOINT = "There is no checkpoint yet: a tail that was cut off, or a stream written anew, would not show."


def _selection(client: str | None, customer: int | None) -> Selection:
    if client is not None and customer is not None:
        raise click.UsageError("--client and --customer exclude each other.")
    return Selection(None if client is None else find_client(services().engine, client), customer)


def _keys() -> CheckpointKeys | None:
    config = services().config
    return CheckpointKeys(config.checkpoint_key, config.checkpoint_key_previous) if config.checkpoint_key else None


def _told(checkpoint: Checkpoint) -> str:
    return (
        f"Checkpoint {checkpoint.number} of {rfc3339(checkpoint.made_at)}: {checkpoint.streams} streams with "
        f"{checkpoint.events} events."
    )
