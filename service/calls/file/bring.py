"""The calls of a file, stored and charged batch by batch.

Each batch is a transaction: what was killed in the middle has brought some batches whole and nothing else, and brought
again it charges only what is missing. A file whose lines don't say which leg they are is looked at by content, see
`legs`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice

from sqlalchemy import Connection, Engine

from service.calls.call import NewCall, Stored
from service.calls.file.legs import any_taken, known_legs, take_turn
from service.calls.file.rows import Line
from service.calls.ingest import Outcome, ingest
from service.db.transaction import transaction
from service.errors import Conflict, Refusal, Unavailable
from service.ledger.command import Caller
from service.ledger.drain import shard_of

BATCH = 500  # calls of one transaction: a fraction of a second for which their customers' streams are locked
TRIES = 5
PAUSE = 0.5  # seconds before a batch is tried again, and longer each time

_Outcome = Outcome | None  # None: it is there already


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of some lines. `charged` is in credit units; `refused` are numbers of lines, and why.

    `shards` have something to be applied.
    """

    lines: int = 0
    stored: int = 0
    charged: Decimal = Decimal(0)
    duplicates: int = 0
    unmatched: int = 0
    refused: Sequence[tuple[int, str]] = ()
    shards: frozenset[int] = frozenset()


def import_calls(
    engine: Engine, caller: Caller, lines: Iterable[Line], *, legs_given: bool, dry_run: bool = False
) -> Iterator[Batch]:
    """Bring the calls of a file; a Batch for every 500 lines, once they are durable. A dry run leaves nothing behind.

    `legs_given`: the calls say themselves which leg they are. Raises Unavailable where the database stays away: what
    was yielded before is in, and the file can be brought again. (Where the answer to a commit is lost, the lines of
    that batch are counted as there already.)
    """
    left = iter(lines)
    while some := list(islice(left, BATCH)):
        yield _patiently(engine, caller, some, legs_given=legs_given, dry_run=dry_run)


class _LegTaken(Exception):
    """Somebody else has taken a leg since it was looked for: nothing of the batch may stay."""


def _patiently(engine: Engine, caller: Caller, lines: Sequence[Line], *, legs_given: bool, dry_run: bool) -> Batch:
    calls = [line.call for line in lines if isinstance(line.call, NewCall)]
    for tried in range(1, TRIES + 1):
        try:
            with transaction(engine) as tx:
                outcomes = ingest(tx, caller, calls) if legs_given else _ingest_as_legs(tx, caller, calls)
                if dry_run:
                    tx.rollback()
            return _counted(lines, outcomes)
        except Unavailable:
            if tried == TRIES:
                raise
        except _LegTaken:
            if tried == TRIES:
                raise Unavailable from None
        time.sleep(PAUSE * tried)
    raise AssertionError("the last try returns or raises")


def _ingest_as_legs(tx: Connection, caller: Caller, calls: Sequence[NewCall]) -> list[_Outcome]:
    """Store and charge what is not there yet, each as the next leg of its uniqueid. Raises _LegTaken."""
    if not calls:
        return []
    take_turn(tx, caller.client_id)
    known = known_legs(tx, caller.client_id, calls)
    placed = [known[call.uniqueid].place(call) for call in calls]
    new = [each for each in placed if isinstance(each, NewCall)]
    done = ingest(tx, caller, new)
    conflicts = [call.key for call, outcome in zip(new, done, strict=True) if isinstance(outcome, Conflict)]
    if conflicts and any_taken(tx, caller.client_id, conflicts):  # if not, it is the ledger that refused the charge
        raise _LegTaken
    outcome = iter(done)
    return [next(outcome) if isinstance(each, NewCall) else each for each in placed]


def _counted(lines: Sequence[Line], outcomes: Sequence[_Outcome]) -> Batch:
    each = iter(outcomes)
    by_line = [(line.number, next(each) if isinstance(line.call, NewCall) else line.call) for line in lines]
    stored = [outcome for outcome in outcomes if isinstance(outcome, Stored) and not outcome.duplicate]
    charged = [outcome.charged for outcome in stored if outcome.charged is not None]
    refused = [(number, outcome.sentence) for number, outcome in by_line if isinstance(outcome, Refusal)]
    return Batch(
        lines=len(lines),
        stored=len(stored),
        charged=sum((one.call.amount for one in stored if one.charged is not None), Decimal(0)),
        duplicates=len(lines) - len(stored) - len(refused),
        unmatched=sum(one.customer_id is None for one in stored),
        refused=refused,
        shards=frozenset(shard_of(one.customer_id) for one in charged),
    )
