"""`flask import calls`"""

from __future__ import annotations

import sys
from collections.abc import Callable
from decimal import Decimal
from typing import IO, Any
from zoneinfo import ZoneInfo

import click
from click.exceptions import Exit

from service.access.keys import find_client
from service.api.context import services
from service.calls.file.bring import import_calls
from service.calls.file.layout import needs_header, read_mapping
from service.calls.file.lines import check_encoding
from service.calls.file.price import DECIMALS, DIGITS, MINUTE, Rate, read_amount
from service.calls.file.rows import CallFile, Form, read_calls
from service.calls.file.source import Source, opened
from service.cli.call_outcomes import Outcomes
from service.cli.imports import group
from service.cli.progress import progress_bar
from service.cli.zone import Zone
from service.doorbell import APPLY, Bell
from service.errors import Invalid
from service.ledger.command import Caller

ACTOR = "import"
SOME_REFUSED = 3  # exit status
DAY = 86_400


class Amount(click.ParamType[Decimal]):
    """An amount of credit, digit by digit."""

    name = "amount"

    def convert(self, value: str | Decimal, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        """Read it as an amount in a file is read."""
        try:
            return value if isinstance(value, Decimal) else read_amount(value)
        except Invalid:
            self.fail(f"'{value}' is not a number such as 1200.5 ({DIGITS} digits, {DECIMALS} decimals)", param, ctx)


class Delimiter(click.ParamType[str]):
    """One character, or `tab`."""

    name = "delimiter"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read it; quotes and line ends have another meaning."""
        character = "\t" if value in {"tab", "\\t"} else value
        if len(character) != 1 or character in '"\r\n\0 ':
            self.fail("must be one character, such as ';', or 'tab'", param, ctx)
        return character


@group.command("calls")
@click.argument("file")
@click.argument("client")
@click.option(
    "--map", "pairs", multiple=True, metavar="NAME=COLUMN", help="Where a part of a call stands; several times."
)
@click.option("--header", is_flag=True, help="The first line names the columns.")
@click.option("--delimiter", type=Delimiter(), default=",", help="What stands between columns; ',' unless given.")
@click.option("--encoding", default="utf-8", help="Of the text; utf-8 unless given.")
@click.option("--timezone", "zone", type=Zone(), help="The zone of moments without an offset. Without it: TIMEZONE.")
@click.option(
    "--customer-by",
    type=click.Choice(["id", "username", "caller_id"]),
    help="What the customer's column holds. Without it: any of them.",
)
@click.option("--amount-column", metavar="COLUMN", help="The column with the price, in credit units.")
@click.option("--rate-per-minute", "rate", type=Amount(), help="Instead of a column: credit units a minute.")
@click.option("--increment", type=click.IntRange(1, DAY), help=f"Seconds to round up to; {MINUTE} unless given.")
@click.option("--minimum", type=click.IntRange(0, DAY), help="Seconds that a call is charged for at least.")
@click.option("--report", type=click.File("w", encoding="utf-8", lazy=False), help="A CSV file for all refused lines.")
@click.option("--dry-run", is_flag=True, help="Check every line, and write nothing.")
def calls(file: str, client: str, report: IO[str] | None, dry_run: bool, **given: Any) -> None:
    """Store and charge the calls of FILE, once each, for CLIENT (a name or an id).

    FILE is Asterisk's Master.csv, or laid out as --map says; '-' is standard input, and gzip is unpacked. NAME is one
    of uniqueid, leg, source, destination, start_time, end_time, duration, amount, customer, disposition; COLUMN is a
    number from 1, or a name. The same file can be brought again: what is in is not charged again.

    Status 0: all lines were read, and none refused. 3: some lines were refused. 1: a failure; 2: wrong options.
    """
    form = _form(given["pairs"], given["amount_column"], given)
    engine = services().engine
    caller = Caller(find_client(engine, client), ACTOR)
    done = Outcomes(report)
    with opened(file, sys.stdin.buffer) as source:
        read = read_calls(source.stream, form)
        try:
            _bring(source, read, done, caller, dry_run=dry_run)
        finally:  # also what was done before a failure
            done.show(dry_run=dry_run)
    if done.refused:
        raise Exit(SOME_REFUSED)


def _bring(source: Source, read: CallFile, done: Outcomes, caller: Caller, *, dry_run: bool) -> None:
    ring, before = _ringer(), 0
    batches = import_calls(services().engine, caller, read.lines, legs_given=read.legs_given, dry_run=dry_run)
    with progress_bar("bringing calls", source.size, of_bytes=True) as progress:
        for batch in batches:
            done.add(batch)
            if batch.shards and not dry_run:
                ring(batch.shards)
            position = source.position()
            progress(position - before)
            before = position


def _ringer() -> Callable[[frozenset[int]], None]:
    """Wakes the workers of shards, until Redis turns out to be away: the clock rings for what was missed."""
    there = True

    def ring(shards: frozenset[int]) -> None:
        nonlocal there
        there = there and services().doorbell.ring(*(Bell(APPLY, shard) for shard in sorted(shards)))

    return ring


def _form(pairs: tuple[str, ...], amount_column: str | None, given: dict[str, Any]) -> Form:
    """How the file is to be read. Raises UsageError where it can't be both, or neither."""
    mapping = read_mapping(pairs)
    if amount_column is not None:
        if "amount" in mapping:
            raise click.UsageError("--amount-column and --map amount=… exclude each other.")
        mapping["amount"] = amount_column.strip()
    check_encoding(given["encoding"])
    zone: ZoneInfo | None = given["zone"]
    return Form(
        timezone=zone or services().config.timezone,
        mapping=mapping,
        header=given["header"] or needs_header(mapping),
        delimiter=given["delimiter"],
        encoding=given["encoding"],
        rate=_rate(bool(mapping.get("amount")), given["rate"], given["increment"], given["minimum"]),
        customer_by=given["customer_by"],
    )


def _rate(has_column: bool, rate: Decimal | None, increment: int | None, minimum: int | None) -> Rate | None:
    if has_column == (rate is not None):
        raise click.UsageError("Give either --amount-column or --rate-per-minute: what a call costs has to be known.")
    if rate is None:
        if increment is not None or minimum is not None:
            raise click.UsageError("--increment and --minimum belong to --rate-per-minute.")
        return None
    return Rate(rate, increment or MINUTE, minimum or 0)
