"""One run: phase by phase, page by page, and each page a transaction of its own.

A run that was killed leaves whole pages, and the next recognises them. What is told of a page is told once it is
committed.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, text

from service.a2billing.batch import Batch
from service.a2billing.caller_ids import bring_caller_ids
from service.a2billing.calls import bring_calls
from service.a2billing.cards import KEPT_IDS_BELOW, bring_cards
from service.a2billing.convert import CardCall, Refill, call_of, caller_id_of, card_of, group_of, refill_of
from service.a2billing.groups import bring_groups
from service.a2billing.refills import bring_refills
from service.a2billing.report import Outcome, Remark, Report
from service.a2billing.source import CALLER_IDS, CALLS, CARDS, GROUPS, REFILLS, Source, SourceTable
from service.a2billing.values import Unfit
from service.calls.partitions import ensure_month
from service.db.transaction import reading, transaction
from service.errors import Unavailable

TRIES = 5  # of one page, where streams are locked or the database is away for a moment
PAUSE = 2.0  # seconds between them
LOCK_TIMEOUT = "5s"  # longer than a request may hold what a page needs

RawRow = TypeVar("RawRow", bound=NamedTuple)
Value = TypeVar("Value")

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True, slots=True)
class Phase(Generic[RawRow, Value]):
    """One table: how its rows are converted and written, and how many of them in one transaction."""

    name: str
    table: SourceTable[RawRow]
    convert: Callable[[RawRow, ZoneInfo], Value]
    bring: Callable[[Connection, Batch, Sequence[Value]], Outcome]
    size: int


# Cards and caller ids go through the ledger, where a page holds its locks; the others are written in bulk.
PHASES: tuple[Phase[Any, Any], ...] = (
    Phase("groups", GROUPS, group_of, bring_groups, 500),
    Phase("cards", CARDS, card_of, bring_cards, 500),
    Phase("caller ids", CALLER_IDS, caller_id_of, bring_caller_ids, 500),
    Phase("calls", CALLS, call_of, bring_calls, 2_000),
    Phase("refills", REFILLS, refill_of, bring_refills, 2_000),
)


@dataclass(frozen=True, slots=True)
class Run:
    """What is imported, and how. `ring` is told of the customers that have new events."""

    source: Source
    engine: Engine
    client_id: uuid.UUID
    zone: ZoneInfo
    report: Report
    progress: Progress
    ring: Callable[[Sequence[int]], None]
    since: datetime | None = None
    dry: bool = False


def run_import(run: Run) -> None:
    """Bring everything over. Raises Unavailable, and what is committed by then stays."""
    batch = Batch(run.client_id, dry=run.dry, highest_card=run.source.highest_id(CARDS, KEPT_IDS_BELOW))
    for phase in PHASES:
        first, last = run.source.bounds(phase.table)
        run.report.add(phase.table.name, Outcome())
        with run.progress(phase.name, last - first + 1) as advance:
            _run_phase(run, batch, phase, first, advance)


def _run_phase(run: Run, batch: Batch, phase: Phase[Any, Any], first: int, advance: Callable[[int], None]) -> None:
    months: set[datetime] = set()
    read = first - 1
    for upto, rows in run.source.pages(phase.table, phase.size, _since_there(run)):
        unfit = Outcome()
        values = [value for value in _converted(phase, rows, run.zone, unfit) if _is_wanted(value, run.since)]
        if not run.dry:
            _make_months(run.engine, values, months)
        outcome = _bring(run, batch, phase, values)
        run.report.add(phase.table.name, unfit)
        run.report.add(phase.table.name, outcome)
        if outcome.customers:
            run.ring(outcome.customers)
        advance(upto - read)
        read = upto


def _since_there(run: Run) -> datetime | None:
    """What a clock of A2Billing's showed at the moment that history is wanted from; None for all of it."""
    try:
        return None if run.since is None else run.since.astimezone(run.zone).replace(tzinfo=None)
    except OverflowError:  # at the ends of the calendar: each row is looked at here anyway
        return None


def _converted(phase: Phase[Any, Value], rows: Sequence[Any], zone: ZoneInfo, unfit: Outcome) -> Iterator[Value]:
    for row in rows:
        try:
            yield phase.convert(row, zone)
        except Unfit as reason:
            unfit.not_taken.append(Remark(row.id, str(reason)))


def _is_wanted(value: object, since: datetime | None) -> bool:
    """History from before `since` is not; what has no moment is."""
    if since is None or not isinstance(value, CardCall | Refill):
        return True
    moment = value.start_time if isinstance(value, CardCall) else value.refilled_at
    return moment is None or moment >= since


def _make_months(engine: Engine, values: Sequence[object], made: set[datetime]) -> None:
    """The partitions that calls need, in a transaction of their own: making one holds up whoever makes another."""
    starts = (value.start_time for value in values if isinstance(value, CardCall))
    months = {start.replace(day=1, hour=0, minute=0, second=0, microsecond=0) for start in starts} - made
    if months:
        with transaction(engine) as tx:
            for month in sorted(months):
                ensure_month(tx, month)
        made |= months


def _bring(run: Run, batch: Batch, phase: Phase[Any, Any], values: Sequence[Any]) -> Outcome:
    """Write a page; once more after a while where it could not be done now. Raises Unavailable in the end."""
    if run.dry:
        with reading(run.engine) as connection:
            return phase.bring(connection, batch, values)
    for _ in range(TRIES - 1):
        try:
            return _write(run, batch, phase, values)
        except Unavailable:
            time.sleep(PAUSE)
    return _write(run, batch, phase, values)


def _write(run: Run, batch: Batch, phase: Phase[Any, Any], values: Sequence[Any]) -> Outcome:
    with transaction(run.engine) as tx:
        tx.execute(_BEGIN, {"timeout": LOCK_TIMEOUT, "client": str(run.client_id)})
        return phase.bring(tx, batch, values)


# Two runs for one client take turns: neither brings what the other is just bringing.
_BEGIN = text("""
    SELECT set_config('lock_timeout', :timeout, true),
           pg_advisory_xact_lock(hashtext('import a2billing'), hashtext(:client))
""")
