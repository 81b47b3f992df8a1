"""The projection, built anew from the events, while everything else goes on.

One batch is one short transaction: it holds the shard's lock, as a drain does, and the customers' rows, so nothing is
applied meanwhile and appends don't wait. A row that is right is not touched, so no reader ever sees a value on its way
from one right state to another. Trusts the events: `verify` says whether one may.

How far a customer's events were applied is told by the change log, where that goes further than the row itself: what
follows from an event (its webhooks) was owed with its change log row. Events beyond that point are left to the workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, Engine, text

from service.db.transaction import reading, transaction
from service.ledger.drain import SHARDS, shard_of
from service.ledger.event import CALL_START
from service.ledger.proof.history import FIRST, Progress, Selection

BATCH = 200  # customers of one transaction: some milliseconds in which their shard is not drained

EVERYTHING = Selection()


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was put right: customers whose row was wrong; missing rows of change log, outbox and references."""

    customers: int = 0
    corrected: int = 0
    logged: int = 0
    queued: int = 0
    booked: int = 0

    def __add__(self, other: Rebuilt) -> Rebuilt:
        return Rebuilt(
            self.customers + other.customers,
            self.corrected + other.corrected,
            self.logged + other.logged,
            self.queued + other.queued,
            self.booked + other.booked,
        )


def rebuild(engine: Engine, selection: Selection = EVERYTHING, progress: Progress = lambda _: None) -> Rebuilt:
    """Put the projection of a selection right; progress is told how many customers are done. Raises Unavailable.

    Goes round the shards batch by batch, so that none goes undrained for long.
    """
    total = Rebuilt()
    for shard, after in _turns(selection):
        with transaction(engine) as tx:
            done, last = _rebuild_batch(tx, selection, shard, after.at)
        after.at = last
        total += done
        progress(done.customers)
    return total


def count_customers(engine: Engine, selection: Selection = EVERYTHING) -> int:
    """How many customers there are to look at, for a progress bar."""
    with reading(engine) as connection:
        parameters = {"client": selection.client_id, "customer": selection.customer_id}
        return int(connection.scalar(_COUNT, parameters) or 0)


@dataclass(slots=True)
class _Cursor:
    """The last customer of a shard that was looked at; None when the shard is done."""

    at: int | None = FIRST


def _turns(selection: Selection) -> Iterator[tuple[int, _Cursor]]:
    only = selection.customer_id
    cursors = {shard: _Cursor() for shard in range(SHARDS) if only is None or shard == shard_of(only)}
    while cursors:
        for shard, cursor in list(cursors.items()):
            yield shard, cursor
            if cursor.at is None:
                del cursors[shard]


def _rebuild_batch(tx: Connection, selection: Selection, shard: int, after: int | None) -> tuple[Rebuilt, int | None]:
    """One batch of a shard; the last customer in it, None if there are no more."""
    tx.execute(_LOCK_SHARD, {"shard": shard})
    parameters = {"after": after, "shard": shard, "client": selection.client_id, "customer": selection.customer_id}
    ids = tx.scalars(_LOCK_CUSTOMERS, {**parameters, "size": BATCH}).all()
    if not ids:
        return Rebuilt(), None
    return replace(_rebuild(tx, ids), customers=len(ids)), ids[-1] if len(ids) == BATCH else None


def _rebuild(tx: Connection, ids: Sequence[int]) -> Rebuilt:
    """Each statement sees what was committed before it; only appends are, and they change nothing that is applied."""
    applied = {row.id: row.applied for row in tx.execute(_APPLIED, {"ids": list(ids)})}
    parameters = {"ids": list(applied), "applied": list(applied.values())}
    corrected = tx.scalars(_CORRECT, {**parameters, "call_start": f"^({CALL_START})$"}).all()
    logged = tx.execute(_LOG, parameters).rowcount
    tx.execute(_TIDY, parameters)
    queued = tx.execute(_QUEUE, parameters).rowcount
    booked = tx.execute(_BOOK, {"ids": list(applied)}).rowcount
    if corrected:
        tx.execute(_UNPARK, {"ids": corrected})
    return Rebuilt(corrected=len(corrected), logged=logged, queued=queued, booked=booked)


_COUNT = text("""
    SELECT count(*) FROM customer
    WHERE (CAST(:client AS uuid) IS NULL OR client_id = :client)
      AND (CAST(:customer AS bigint) IS NULL OR id = :customer)
""")
_LOCK_SHARD = text("SELECT pg_advisory_xact_lock(hashtext('ledger_shard'), :shard)")
_LOCK_CUSTOMERS = text("""
    SELECT id FROM customer
    WHERE id > :after AND ledger_shard(id) = :shard
      AND (CAST(:client AS uuid) IS NULL OR client_id = :client)
      AND (CAST(:customer AS bigint) IS NULL OR id = :customer)
    ORDER BY id LIMIT :size FOR NO KEY UPDATE
""")
_APPLIED = text("""
    SELECT c.id, least(s.last_seq, greatest(c.applied_seq, logged.seq, 0)) AS applied
    FROM customer c JOIN stream s ON s.customer_id = c.id,
         LATERAL (SELECT max(l.seq) AS seq FROM change_log l WHERE l.customer_id = c.id) AS logged
    WHERE c.id = ANY (CAST(:ids AS bigint[]))
""")
# Before its first event is applied, nothing is known of a customer's status and limits but what its row says. Neither
# is the limit at an event of format 1, unless no event has changed it since. When a customer was used may also be known
# from where it was brought over: calls only ever widen that.
_CORRECT = text("""
    WITH truth AS (
        SELECT c.id, due.applied,
            coalesce(e.balance_after, 0) AS credit,
            coalesce(e.held_after, 0) AS held,
            coalesce(e.status_after, c.status) AS status,
            CASE
                WHEN e.hash_format > 1 THEN e.creditlimit_after
                WHEN e.seq IS NOT NULL AND NOT EXISTS (
                    SELECT FROM ledger_event l WHERE l.customer_id = c.id AND l.kind = 'limit.set') THEN s.creditlimit
                ELSE c.creditlimit
            END AS creditlimit,
            CASE WHEN e.seq IS NULL THEN c.credit_notification ELSE (
                SELECT (n.detail ->> 'credit_notification')::numeric(15, 5) FROM ledger_event n
                WHERE n.customer_id = c.id AND n.seq <= due.applied AND n.kind IN ('customer.created', 'limit.set')
                  AND n.detail -> 'credit_notification' IS NOT NULL
                ORDER BY n.seq DESC LIMIT 1) END AS credit_notification,
            coalesce(told.status_at, c.status_at) AS status_at,
            least(c.firstusedate, told.first_start) AS firstusedate,
            greatest(c.lastuse, told.last_start) AS lastuse
        FROM unnest(CAST(:ids AS bigint[]), CAST(:applied AS bigint[])) AS due (id, applied)
        JOIN customer c ON c.id = due.id
        JOIN stream s ON s.customer_id = due.id
        LEFT JOIN ledger_event e ON e.customer_id = due.id AND e.seq = due.applied,
        LATERAL (
            SELECT max(n.recorded_at) FILTER (WHERE n.kind = 'status.set') AS status_at,
                min(n.start::timestamptz) FILTER (WHERE n.start ~ :call_start) AS first_start,
                max(n.start::timestamptz) FILTER (WHERE n.start ~ :call_start) AS last_start
            FROM (SELECT kind, recorded_at, CASE WHEN kind = 'call.charged' THEN detail ->> 'start_time' END AS start
                  FROM ledger_event
                  WHERE customer_id = due.id AND seq <= due.applied AND kind IN ('status.set', 'call.charged')
                  OFFSET 0) AS n
        ) AS told
    )
    UPDATE customer c
    SET credit = t.credit, held = t.held, status = t.status, creditlimit = t.creditlimit,
        credit_notification = t.credit_notification, applied_seq = t.applied, status_at = t.status_at,
        firstusedate = t.firstusedate, lastuse = t.lastuse
    FROM truth t
    WHERE c.id = t.id
      AND (c.credit, c.held, c.status, c.creditlimit, c.credit_notification, c.applied_seq, c.status_at,
           c.firstusedate, c.lastuse)
          IS DISTINCT FROM (t.credit, t.held, t.status, t.creditlimit, t.credit_notification, t.applied, t.status_at,
                            t.firstusedate, t.lastuse)
    RETURNING c.id
""")
_LOG = text("""
    INSERT INTO change_log (customer_id, seq, client_id, kind, credit_before, credit_after, status_before,
                            status_after, actor, reason, recorded_at, applied_at)
    SELECT e.customer_id, e.seq, e.client_id, e.kind, e.balance_after - e.delta, e.balance_after,
           coalesce(before.status_after, e.status_after), e.status_after, e.actor, e.reason, e.recorded_at,
           clock_timestamp()
    FROM unnest(CAST(:ids AS bigint[]), CAST(:applied AS bigint[])) AS due (id, applied)
    JOIN ledger_event e ON e.customer_id = due.id AND e.seq <= due.applied
    LEFT JOIN ledger_event before ON before.customer_id = e.customer_id AND before.seq = e.seq - 1
    WHERE (SELECT count(*) FROM change_log l WHERE l.customer_id = due.id AND l.seq <= due.applied) < due.applied
      AND NOT EXISTS (SELECT FROM change_log l WHERE l.customer_id = e.customer_id AND l.seq = e.seq)
""")
_TIDY = text("""
    DELETE FROM outbox o USING unnest(CAST(:ids AS bigint[]), CAST(:applied AS bigint[])) AS due (id, applied)
    WHERE o.customer_id = due.id AND o.seq <= due.applied
""")
_QUEUE = text("""
    INSERT INTO outbox (customer_id, seq, shard, recorded_at, parked)
    SELECT e.customer_id, e.seq, ledger_shard(e.customer_id), e.recorded_at, c.parked_at IS NOT NULL
    FROM unnest(CAST(:ids AS bigint[]), CAST(:applied AS bigint[])) AS due (id, applied)
    JOIN customer c ON c.id = due.id
    JOIN ledger_event e ON e.customer_id = due.id AND e.seq > due.applied
    ON CONFLICT (customer_id, seq) DO NOTHING
""")
_BOOK = text("""
    INSERT INTO ledger_reference (client_id, reference, customer_id, seq)
    SELECT client_id, reference, customer_id, seq FROM ledger_event
    WHERE customer_id = ANY (CAST(:ids AS bigint[])) AND reference IS NOT NULL
    ON CONFLICT DO NOTHING
""")
# A customer may have been parked because its row was wrong: the workers may try again now.
_UNPARK = text("""
    WITH freed AS (
        UPDATE customer SET parked_at = NULL, parked_reason = NULL
        WHERE id = ANY (CAST(:ids AS bigint[])) AND parked_at IS NOT NULL RETURNING id)
    UPDATE outbox SET parked = false WHERE customer_id IN (SELECT id FROM freed)
""")
