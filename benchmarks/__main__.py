"""`make bench`: prints ratios, each of two things measured side by side in one run.

Exit status 0 when everything was measured; what a figure should be is printed beside it, not enforced, because a busy
machine is no defect of the service.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks import bulk, call_intake, call_log, claims, deliver, drain, idle, put_credit, redis_away, verify
from benchmarks.figures import Figure
from benchmarks.stage import Stage, stage

MEASURES: dict[str, Callable[[Stage, int, float], Iterator[Figure]]] = {
    "put": put_credit.measure,
    "bulk": bulk.measure,
    "drain": drain.measure,
    "deliver": deliver.measure,
    "claims": claims.measure,
    "intake": call_intake.measure,
    "log": call_log.measure,
    "redis": redis_away.measure,
    "idle": idle.measure,
    "verify": verify.measure,
}


def main() -> None:
    """Measure what was asked for, each on a stage of its own, and print the report."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.split("\n")[0])
    parser.add_argument("--only", action="append", choices=[*MEASURES], help="measure just this; may be repeated")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of measurements for each figure (%(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one measurement (%(default)s)")
    options = parser.parse_args()
    console = Console()
    figures: list[Figure] = []
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        for name in options.only or MEASURES:
            task = progress.add_task(f"measuring {name}", total=1)
            with stage() as ready:
                figures += MEASURES[name](ready, options.rounds, options.seconds)
            progress.update(task, completed=1)
    Console(width=120 if not console.is_terminal else None).print(_report(figures))


def _report(figures: list[Figure]) -> Table:
    table = Table("figure", "ours", "against", "ratio", "span", "aim", title="medians, measured side by side")
    for figure in figures:
        table.add_row(*figure.cells())
    return table


if __name__ == "__main__":
    main()
