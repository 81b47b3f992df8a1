"""`flask import a2billing`"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TextIO
from zoneinfo import ZoneInfo

import click

from service import clock
from service.a2billing.importer import Run, run_import
from service.a2billing.report import Report
from service.a2billing.source import Source
from service.access.keys import find_client
from service.api.context import services
from service.calls.period import read_moment
from service.cli.imports import group
from service.cli.progress import progress_bar
from service.doorbell import APPLY, Bell
from service.ledger.drain import shard_of

CLOCKS_DIFFER = timedelta(minutes=15)  # the smallest step between time zones; a clock goes wrong by less


class Zone(click.ParamType[ZoneInfo]):
    """The name of a time zone."""

    name = "zone"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> ZoneInfo:
        """Find it."""
        try:
            return ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            self.fail(f"'{value}' is not a time zone name, such as Asia/Ho_Chi_Minh", param, ctx)


@group.command("a2billing")
@click.argument("database_url")
@click.argument("client")
@click.option("--dry-run", is_flag=True, help="Read and convert everything, report, and write nothing.")
@click.option("--since", metavar="MOMENT", help="Only calls and refills from 2024-01-31 00:00:00 (or RFC 3339) on.")
@click.option(
    "--report",
    "rows",
    type=click.File("w", encoding="utf-8", lazy=False),
    help="A CSV file for all rows that were not taken, or taken with a change.",
)
@click.option("--timezone", "zone", type=Zone(), help="The zone of the dates in A2Billing. Without it: TIMEZONE.")
def import_a2billing(
    database_url: str, client: str, dry_run: bool, since: str | None, rows: TextIO | None, zone: ZoneInfo | None
) -> None:
    """Bring an A2Billing database over to CLIENT (a name or an id).

    DATABASE_URL is mysql://user:password@host/name, mariadb://… or postgres://…; it is only read. Groups, cards with
    their credit, caller ids, calls and refills come in. A run may be killed and begun again at any time; a second run
    brings what is new, and credit and status that have changed there and not here.
    """
    zone = zone or services().config.timezone
    client_id, moment = find_client(services().engine, client), _moment(since, zone)
    report = Report(rows)
    with closing(Source.open(database_url)) as source:
        _compare_clocks(source, zone)
        run = Run(source, services().engine, client_id, zone, report, progress_bar, _ring(), since=moment, dry=dry_run)
        try:
            run_import(run)
        finally:  # also of what was done before a failure
            for line in report.lines():
                click.echo(line)
    if dry_run:
        click.echo("\nNothing was written: this was a dry run.")


def _moment(given: str | None, zone: ZoneInfo) -> datetime | None:
    try:
        return None if given is None else read_moment(given, zone)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="'--since'") from None


def _compare_clocks(source: Source, zone: ZoneInfo) -> None:
    """Warn of a zone that can't be right: every date would be hours off."""
    shown, here = source.clock(), clock.now()
    if abs(shown.replace(tzinfo=zone).astimezone(UTC) - here) >= CLOCKS_DIFFER:
        click.echo(
            f"Warning: the clock of the A2Billing database shows {shown:%Y-%m-%d %H:%M}, and in {zone} it is "
            f"{here.astimezone(zone):%Y-%m-%d %H:%M}: is the --timezone right?",
            err=True,
        )


def _ring() -> Callable[[Sequence[int]], None]:
    """What wakes the workers for customers, for as long as Redis is there; the clock finds what is not rung for."""
    there = True

    def ring(customers: Sequence[int]) -> None:
        nonlocal there
        shards = sorted({shard_of(each) for each in customers})
        there = there and services().doorbell.ring(*(Bell(APPLY, shard) for shard in shards))

    return ring
