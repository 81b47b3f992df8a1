"""What became of every row: counts for each kind, and whatever was not taken, with its reason.

Memory does not grow with the rows: of each reason the first few are kept, and all go to a CSV file, if there is one.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, TextIO

SHOWN = 20  # rows of each reason that are listed
CSV_COLUMNS = ("table", "id", "outcome", "reason", "detail")
NOT_TAKEN, ADJUSTED = "not taken", "taken with a change"


@dataclass(slots=True)
class Tally:
    """What was brought of one kind."""

    new: int = 0
    there: int = 0
    changed: int = 0
    not_taken: int = 0


@dataclass(frozen=True, slots=True)
class Remark:
    """Something to tell of a row. `reason` is the same for all rows of its sort, `detail` is this one's."""

    id: int
    reason: str
    detail: str = ""


class Noted(Protocol):
    """A row with what was put right in it."""

    @property
    def id(self) -> int:
        """Its id in A2Billing."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was put right."""


def notes_of(taken: Iterable[Noted]) -> list[Remark]:
    """What to tell of rows that were taken."""
    return [Remark(each.id, note) for each in taken for note in each.notes]


@dataclass(slots=True)
class Outcome:
    """What became of a page, to be told once it is committed. `customers` are those that have new events."""

    new: int = 0
    there: int = 0
    changed: int = 0
    not_taken: list[Remark] = field(default_factory=list)
    adjusted: list[Remark] = field(default_factory=list)
    customers: list[int] = field(default_factory=list)


class Report:
    """Collects the outcomes of a run. `rows` takes a CSV line for each row that there is something to tell of."""

    def __init__(self, rows: TextIO | None = None) -> None:
        self.tallies: dict[str, Tally] = {}
        self.not_taken: dict[tuple[str, str], list[Remark]] = {}
        self.counts: Counter[tuple[str, str]] = Counter()
        self.adjusted: Counter[tuple[str, str]] = Counter()
        self._writer = csv.writer(rows) if rows is not None else None
        if self._writer:
            self._writer.writerow(CSV_COLUMNS)

    def add(self, table: str, outcome: Outcome) -> None:
        """Tell of a page."""
        tally = self.tallies.setdefault(table, Tally())
        tally.new += outcome.new
        tally.there += outcome.there
        tally.changed += outcome.changed
        tally.not_taken += len(outcome.not_taken)
        for remark in outcome.not_taken:
            self.counts[table, remark.reason] += 1
            shown = self.not_taken.setdefault((table, remark.reason), [])
            if len(shown) < SHOWN:
                shown.append(remark)
            self._write(table, NOT_TAKEN, remark)
        for remark in outcome.adjusted:
            self.adjusted[table, remark.reason] += 1
            self._write(table, ADJUSTED, remark)

    def lines(self) -> Iterator[str]:
        """The report to be read."""
        yield f"{'':14}{'new':>10}{'there already':>16}{'changed':>10}{'not taken':>12}"
        for table, tally in self.tallies.items():
            yield f"{table:14}{tally.new:>10}{tally.there:>16}{tally.changed:>10}{tally.not_taken:>12}"
        if self.adjusted:
            yield from ("", "Taken with a change:")
            yield from (f"  {table}: {reason}: {count}" for (table, reason), count in sorted(self.adjusted.items()))
        if self.counts:
            yield from ("", "Not taken:")
        for (table, reason), count in sorted(self.counts.items()):
            yield f"  {table}: {reason}: {count}"
            shown = self.not_taken[table, reason]
            yield from (f"    {table} {each.id}: {each.detail or reason}" for each in shown)
            if count > len(shown):
                yield f"    … and {count - len(shown)} more"

    def _write(self, table: str, outcome: str, remark: Remark) -> None:
        if self._writer:
            self._writer.writerow((table, remark.id, outcome, remark.reason, remark.detail))
