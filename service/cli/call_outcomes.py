"""What has become of the lines of a file, as it is told at the end."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import IO

import click

from service.calls.file.bring import Batch
from service.money import as_json

SHOWN = 20  # refused lines; a report has all of them


@dataclass
class Outcomes:
    """The sum of all batches so far. Refused lines go to `report`, a CSV file; the first are kept to be shown."""

    report: IO[str] | None = None
    total: Batch = field(default_factory=Batch)
    refused: int = 0
    first: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._write([("line", "reason")])

    def add(self, batch: Batch) -> None:
        """Count a batch."""
        self.total = Batch(
            lines=self.total.lines + batch.lines,
            stored=self.total.stored + batch.stored,
            charged=self.total.charged + batch.charged,
            duplicates=self.total.duplicates + batch.duplicates,
            unmatched=self.total.unmatched + batch.unmatched,
        )
        self.refused += len(batch.refused)
        self.first += batch.refused[: SHOWN - len(self.first)]
        self._write(batch.refused)

    def show(self, *, dry_run: bool) -> None:
        """Print the first refused lines, and a table."""
        for number, reason in self.first:
            click.echo(f"line {number}: {reason}")
        if self.refused > len(self.first):
            click.echo(f"… and {self.refused - len(self.first)} more; --report FILE has them all")
        total = self.total
        for name, figure in (
            ("lines", total.lines),
            ("stored", total.stored),
            ("charged", as_json(total.charged)),
            ("unmatched", total.unmatched),
            ("duplicates", total.duplicates),
            ("refused", self.refused),
        ):
            click.echo(f"{name:<10} {figure:>18}")
        if dry_run:
            click.echo("Nothing was written: this was a dry run.")

    def _write(self, rows: Iterable[tuple[object, str]]) -> None:
        if self.report is not None:
            csv.writer(self.report, lineterminator="\n").writerows(rows)
