"""Apply: bring the projection up to the events, write the change log, and let others owe what follows from it.

One drain is one transaction over one shard and commits hundreds of events. It locks the shard (another drain goes
elsewhere) and the customers' projection rows, never the stream heads: an append never waits on a worker. What it has
not committed never happened, so a worker may be killed at any point.

An event that does not follow from the state before it parks its own customer, visibly, and nobody else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import psycopg as pg
import structlog
from sqlalchemy import Connection, Engine, text
from sqlalchemy import exc as sa

from service.db.transaction import transaction
from service.ledger.event import Applied, BrokenStream, Event, Kind, State, apply, call_start

BATCH = 1000  # outbox rows of one commit: beyond some hundreds a larger one gains little and holds its locks longer
SHARDS = 16  # as in the SQL function ledger_shard

Owe = Callable[[Connection, Sequence[Applied]], int]

_OF_THE_DATA = {"22", "23", "54", "P0"}  # SQLSTATE classes: data, integrity, a limit exceeded, raised by a trigger

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Drained:
    """What one drain did. `busy`: another worker holds the shard."""

    applied: list[Applied] = field(default_factory=list)
    owed: int = 0
    busy: bool = False


class _Poisoned(Exception):
    """The database refused a batch for what is in it."""


def shard_of(customer_id: int) -> int:
    """The shard of a customer, as the SQL function ledger_shard has it."""
    return customer_id % SHARDS


def drain(engine: Engine, shard: int, owe: Owe) -> Drained:
    """Apply one batch of a shard. `owe` writes, in the same transaction, what the applied events entail.

    Raises Unavailable with nothing applied.
    """
    try:
        return _drain(engine, shard, owe)
    except _Poisoned:
        return _drain_one_by_one(engine, shard, owe)


def _drain(engine: Engine, shard: int, owe: Owe, customer: int | None = None) -> Drained:
    with transaction(engine) as tx:
        if not _lock_shard(tx, shard):
            return Drained(busy=True)
        waiting = _waiting(tx, shard, customer)
        if not waiting:
            return Drained()
        states = _lock_projection(tx, waiting)
        applied, broken = _fold(states, _events_to_apply(tx, states, waiting))
        owed = _write(tx, applied, owe)
        _tidy(tx, states, applied)
        broken.update(_missing(waiting, states, applied, broken))
        for customer_id in waiting.keys() - states.keys() | broken.keys():
            _park(tx, customer_id, broken.get(customer_id, "parked before"))
    return Drained(applied, owed)


def _drain_one_by_one(engine: Engine, shard: int, owe: Owe) -> Drained:
    """Find the customer that spoils a batch: each gets a transaction of its own, and the one that fails is parked."""
    with transaction(engine) as tx:
        waiting = _waiting(tx, shard)
    applied: list[Applied] = []
    owed = 0
    for customer_id in waiting:
        try:
            drained = _drain(engine, shard, owe, customer_id)
        except _Poisoned as error:
            with transaction(engine) as tx:
                _park(tx, customer_id, str(error))
        else:
            applied += drained.applied
            owed += drained.owed
    return Drained(applied, owed)


def _lock_shard(tx: Connection, shard: int) -> bool:
    """Until the end of the transaction; a session lock would outlive it behind a connection pooler."""
    return bool(tx.scalar(_LOCK_SHARD, {"shard": shard}))


def _waiting(tx: Connection, shard: int, customer: int | None = None) -> dict[int, int]:
    """Customers with events to apply, and the seq to go up to. Those that wait longest: a busy one starves nobody."""
    rows = tx.execute(_WAITING, {"shard": shard, "customer": customer, "limit": BATCH})
    return {row.customer_id: row.upto for row in rows}


def _lock_projection(tx: Connection, customers: Iterable[int]) -> dict[int, State]:
    rows = tx.execute(_LOCK_PROJECTION, {"ids": sorted(customers)})
    return {row.id: State(row.applied_seq, row.credit, row.status, row.held) for row in rows if row.parked_at is None}


def _events_to_apply(tx: Connection, states: dict[int, State], upto: dict[int, int]) -> list[Event]:
    """A statement of its own, after the locks: its snapshot then holds all that was committed before them."""
    parameters = {
        "ids": list(states),
        "after": [state.seq for state in states.values()],
        "upto": [upto[customer_id] for customer_id in states],
    }
    return [Event(*row) for row in tx.execute(_EVENTS, parameters)]


def _fold(states: dict[int, State], events: Sequence[Event]) -> tuple[list[Applied], dict[int, str]]:
    applied: list[Applied] = []
    broken: dict[int, str] = {}
    for customer_id, stream in groupby(events, lambda event: event.customer_id):
        state = states[customer_id]
        try:
            for event in stream:
                after = apply(state, event)
                if event.kind == Kind.CALL_CHARGED:
                    call_start(event)  # raises here, where it parks one customer and not the whole batch
                applied.append(Applied(event, state))
                state = after
        except BrokenStream as error:
            broken[customer_id] = str(error)
    return applied, broken


def _missing(
    waiting: dict[int, int], states: dict[int, State], applied: Sequence[Applied], broken: dict[int, str]
) -> dict[int, str]:
    """Customers whose outbox speaks of events that are not there: their tail was cut off."""
    reached = {customer_id: state.seq for customer_id, state in states.items()}
    reached.update({a.event.customer_id: a.event.seq for a in applied})
    short = {c: seq for c, seq in reached.items() if seq < waiting[c] and c not in broken}
    return {customer_id: f"event {seq + 1} is missing" for customer_id, seq in short.items()}


def _write(tx: Connection, applied: Sequence[Applied], owe: Owe) -> int:
    if not applied:
        return 0
    try:
        _project(tx, applied)
        _log_changes(tx, applied)
        return owe(tx, applied)
    except sa.DBAPIError as error:
        if _sqlstate(error)[:2] in _OF_THE_DATA:
            raise _Poisoned(_first_line(error)) from error
        raise
    except (ValueError, TypeError, KeyError, ArithmeticError) as error:
        raise _Poisoned(f"{type(error).__name__} while working out what is owed") from error


def _project(tx: Connection, applied: Sequence[Applied]) -> None:
    last = {a.event.customer_id: a.event for a in applied}
    tx.execute(
        _PROJECT,
        {
            "ids": list(last),
            "credits": [e.balance_after for e in last.values()],
            "helds": [e.held_after for e in last.values()],
            "statuses": [e.status_after for e in last.values()],
            "seqs": [e.seq for e in last.values()],
        },
    )
    for event in (a.event for a in applied if a.event.kind == Kind.LIMIT_SET):
        tx.execute(_PROJECT_LIMIT, {"id": event.customer_id, "seq": event.seq})
    _project_use(tx, [a.event for a in applied if a.event.kind == Kind.CALL_CHARGED])
    set_at = {a.event.customer_id: a.event.recorded_at for a in applied if a.event.kind == Kind.STATUS_SET}
    if set_at:
        tx.execute(_PROJECT_STATUS_AT, {"ids": list(set_at), "moments": list(set_at.values())})


def _project_use(tx: Connection, charges: Sequence[Event]) -> None:
    """A customer was first and last used when its first and last calls began, in whatever order they come in."""
    if charges:
        starts = [call_start(event) for event in charges]
        tx.execute(_PROJECT_USE, {"ids": [event.customer_id for event in charges], "starts": starts})


def _log_changes(tx: Connection, applied: Sequence[Applied]) -> None:
    tx.execute(
        _CHANGE_LOG,
        {
            "ids": [a.event.customer_id for a in applied],
            "seqs": [a.event.seq for a in applied],
            "credits": [a.before.credit for a in applied],
            "statuses": [a.before.status for a in applied],
        },
    )


def _tidy(tx: Connection, states: dict[int, State], applied: Sequence[Applied]) -> None:
    """Delete the outbox rows of what is applied by now, also where an earlier drain had gone ahead of its rows."""
    seqs = {customer_id: state.seq for customer_id, state in states.items()}
    seqs.update({a.event.customer_id: a.event.seq for a in applied})
    tx.execute(_TIDY, {"ids": list(seqs), "seqs": list(seqs.values())})


def _park(tx: Connection, customer_id: int, reason: str) -> None:
    log.error("customer parked", customer_id=customer_id, reason=reason)
    tx.execute(_PARK, {"id": customer_id, "reason": reason})
    tx.execute(_PARK_OUTBOX, {"id": customer_id})


def _sqlstate(error: sa.DBAPIError) -> str:
    return (isinstance(error.orig, pg.Error) and error.orig.sqlstate) or "?????"


def _first_line(error: sa.DBAPIError) -> str:
    """Postgres's own sentence, without the values of the row."""
    primary = error.orig.diag.message_primary if isinstance(error.orig, pg.Error) else None
    return primary or type(error.orig).__name__


_LOCK_SHARD = text("SELECT pg_try_advisory_xact_lock(hashtext('ledger_shard'), :shard)")
_WAITING = text("""
    SELECT customer_id, max(seq) AS upto FROM (
        SELECT customer_id, seq FROM outbox
        WHERE shard = :shard AND NOT parked AND customer_id = coalesce(CAST(:customer AS bigint), customer_id)
        ORDER BY recorded_at LIMIT :limit
    ) AS oldest GROUP BY customer_id
""")
_LOCK_PROJECTION = text("""
    SELECT id, credit, status, held, applied_seq, parked_at FROM customer
    WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id FOR NO KEY UPDATE
""")
_EVENTS = text("""
    SELECT e.customer_id, e.seq, e.client_id, e.kind, e.delta, e.balance_after, e.held_after, e.creditlimit_after,
           e.status_after, e.refers_to, e.detail, e.reason, e.reference, e.actor, e.recorded_at
    FROM unnest(CAST(:ids AS bigint[]), CAST(:after AS bigint[]), CAST(:upto AS bigint[]))
         AS due (customer_id, done, upto)
    JOIN ledger_event e ON e.customer_id = due.customer_id AND e.seq > due.done AND e.seq <= due.upto
    ORDER BY e.customer_id, e.seq
""")
_PROJECT = text("""
    UPDATE customer SET credit = new.credit, held = new.held, status = new.status, applied_seq = new.seq
    FROM unnest(CAST(:ids AS bigint[]), CAST(:credits AS numeric[]), CAST(:helds AS numeric[]),
                CAST(:statuses AS smallint[]), CAST(:seqs AS bigint[])) AS new (id, credit, held, status, seq)
    WHERE customer.id = new.id
""")
_PROJECT_STATUS_AT = text("""
    UPDATE customer SET status_at = new.moment
    FROM unnest(CAST(:ids AS bigint[]), CAST(:moments AS timestamptz[])) AS new (id, moment)
    WHERE customer.id = new.id
""")
_PROJECT_USE = text("""
    UPDATE customer
    SET firstusedate = least(firstusedate, used.first), lastuse = greatest(lastuse, used.last)
    FROM (SELECT id, min(start) AS first, max(start) AS last
          FROM unnest(CAST(:ids AS bigint[]), CAST(:starts AS timestamptz[])) AS call (id, start) GROUP BY id) AS used
    WHERE customer.id = used.id
""")
_PROJECT_LIMIT = text("""
    UPDATE customer
    SET creditlimit = e.creditlimit_after,
        credit_notification = CASE WHEN e.detail -> 'credit_notification' IS NULL THEN credit_notification
                                   ELSE (e.detail ->> 'credit_notification')::numeric END
    FROM ledger_event e WHERE e.customer_id = :id AND e.seq = :seq AND customer.id = e.customer_id
""")
_CHANGE_LOG = text("""
    INSERT INTO change_log (customer_id, seq, client_id, kind, credit_before, credit_after, status_before,
                            status_after, actor, reason, recorded_at, applied_at)
    SELECT e.customer_id, e.seq, e.client_id, e.kind, old.credit, e.balance_after, old.status,
           e.status_after, e.actor, e.reason, e.recorded_at, clock_timestamp()
    FROM unnest(CAST(:ids AS bigint[]), CAST(:seqs AS bigint[]), CAST(:credits AS numeric[]),
                CAST(:statuses AS smallint[])) AS old (customer_id, seq, credit, status)
    JOIN ledger_event e ON e.customer_id = old.customer_id AND e.seq = old.seq
""")
_TIDY = text("""
    DELETE FROM outbox USING unnest(CAST(:ids AS bigint[]), CAST(:seqs AS bigint[])) AS done (customer_id, seq)
    WHERE outbox.customer_id = done.customer_id AND outbox.seq <= done.seq
""")
_PARK = text("UPDATE customer SET parked_at = now(), parked_reason = :reason WHERE id = :id AND parked_at IS NULL")
_PARK_OUTBOX = text("UPDATE outbox SET parked = true WHERE customer_id = :id AND NOT parked")
