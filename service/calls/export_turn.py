"""How exports are written: turn by turn, each turn one chunk of the export that has waited longest.

A turn belongs to whoever holds the lease. It reads a stretch of calls and compresses it with nothing locked and no
transaction open that writes, and then commits the chunk together with the place that it ends at. So whoever is killed,
wherever, has either written its chunk and moved the place, or neither; a lease that has run out is taken up by whoever
comes next, and a writer that comes too late finds its token gone and changes nothing.

A stretch is so many calls that are looked at, not so many that are found: a turn is short however few calls fit what is
wanted. Each client has one turn at a time, for its oldest export: somebody else's ten years hold up nobody.
"""

from __future__ import annotations

import gzip
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Engine, Row, text

from service.calls.export import Status, wanted_by
from service.calls.read import CallView, Place, calls_between, count_calls, place_after
from service.calls.sheet import COLUMNS, row_of
from service.calls.wanted import Wanted
from service.db.transaction import reading, single_statement, snapshot, transaction
from service.errors import Unavailable
from service.sheet import cell, lines

STRETCH = 2_000  # calls that a turn looks at: a tenth of a second, for which the worker applies no changes
LEASE = 10.0  # seconds that a turn may take before somebody else begins it anew
MOST_ATTEMPTS = 10  # at one chunk. After each failure the next waits longer, in all for about five minutes
_LEVEL = 6  # of compression

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Turn:
    """What a turn came to: rows that it added, and where the export stands now."""

    export_id: uuid.UUID
    client_id: uuid.UUID
    rows: int
    status: Status


@dataclass(frozen=True, slots=True)
class Claim:
    """An export whose next chunk is ours to write until the lease runs out. `place` is where the last one ended."""

    id: uuid.UUID
    wanted: Wanted
    status: Status
    total: int | None
    place: Place | None
    chunks: int
    token: uuid.UUID


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a turn has made: `body` of so many rows; `place` is where it ends, None at the end of the file."""

    body: bytes
    rows: int
    place: Place | None


def has_turns(engine: Engine) -> bool:
    """Whether an export waits for a turn. Raises Unavailable."""
    with reading(engine) as connection:
        return bool(connection.scalar(_HAS_TURNS))


def take_turn(engine: Engine, days: int) -> Turn | None:
    """Write a chunk of the export that is next; None if none is. The file is kept for so many `days`.

    Raises Unavailable where nothing could be claimed. Whatever else goes wrong is noted; the turn is taken again later.
    """
    claimed = claim(engine, days)
    if claimed is None or claimed.status is Status.FAILED:
        return None if claimed is None else _turn(claimed, Status.FAILED)
    try:
        total = claimed.total if claimed.total is not None else count_calls(engine, claimed.wanted.indexed)
        chunk = make_chunk(engine, claimed)
        status = write_chunk(engine, claimed, chunk, total, days)
    except Unavailable as error:
        log.warning(
            "export turn cut short", export=str(claimed.id), error=str(error.__cause__ or error).splitlines()[0]
        )
        return _turn(claimed, give_back(engine, claimed, "database", days))
    except Exception:
        log.exception("export turn failed", export=str(claimed.id))
        return _turn(claimed, give_back(engine, claimed, "internal", days))
    return _turn(claimed, status, chunk.rows)


def claim(engine: Engine, days: int) -> Claim | None:
    """Take the lease of the export that is next, and count the attempt. One that has had too many is failed by this."""
    token = uuid.uuid4()
    with single_statement(engine) as connection:
        parameters = {"token": token, "lease": LEASE, "most": MOST_ATTEMPTS, "days": days}
        row = connection.execute(_CLAIM, parameters).one_or_none()
    return None if row is None else _claim(row, token)


def make_chunk(engine: Engine, claimed: Claim) -> Chunk:
    """The next chunk of an export: a gzip member of its own. The first one begins with the header line."""
    with snapshot(engine) as connection:
        place = place_after(connection, claimed.wanted.indexed, claimed.place, STRETCH)
        calls = calls_between(connection, claimed.wanted, claimed.place, place)
    header = [] if claimed.chunks else [COLUMNS]
    return Chunk(_compressed(header, calls), len(calls), place)


def _compressed(header: Sequence[Sequence[str]], calls: Sequence[CallView]) -> bytes:
    rows = ([cell(value) for value in row_of(call).values()] for call in calls)
    csv = lines([*header, *rows])
    return gzip.compress(csv.encode(), _LEVEL, mtime=0) if csv else b""


def write_chunk(engine: Engine, claimed: Claim, chunk: Chunk, total: int, days: int) -> Status | None:
    """Commit a chunk with the place that it ends at; the status then, or None where the lease was another's by now."""
    key = {"client": claimed.wanted.client_id, "id": claimed.id}
    place_time, place_id = chunk.place or (None, None)
    with transaction(engine) as tx:
        moved = {
            "token": claimed.token, "total": total, "stretch": STRETCH, "rows": chunk.rows, "bytes": len(chunk.body),
            "place_time": place_time, "place_id": place_id, "days": days,
        }  # fmt: skip
        row = tx.execute(_MOVE, {**key, **moved}).one_or_none()
        if row is None:
            return None
        if chunk.body:
            tx.execute(_KEEP, {**key, "number": row.chunks, "body": chunk.body})
    return Status(row.status)


def give_back(engine: Engine, claimed: Claim, error: str, days: int) -> Status | None:
    """Note a class of error and let the next attempt wait, if there is to be one; the status then.

    None where that can't be noted: the lease runs out by itself.
    """
    parameters = {
        "client": claimed.wanted.client_id, "id": claimed.id, "token": claimed.token, "error": error,
        "most": MOST_ATTEMPTS, "days": days,
    }  # fmt: skip
    try:
        with single_statement(engine) as connection:
            status = connection.scalar(_GIVE_BACK, parameters)
    except Unavailable:
        return None
    return None if status is None else Status(status)


def _turn(claimed: Claim, status: Status | None, rows: int = 0) -> Turn:
    return Turn(claimed.id, claimed.wanted.client_id, rows if status else 0, status or Status.RUNNING)


def _claim(row: Row[Any], token: uuid.UUID) -> Claim:
    place = None if row.place_id is None else (row.place_time, row.place_id)
    return Claim(row.id, wanted_by(row), Status(row.status), row.total, place, row.chunks, token)


_HAS_TURNS = text("""
    SELECT EXISTS (SELECT FROM call_export
                   WHERE finished_at IS NULL AND (lease_until IS NULL OR lease_until < clock_timestamp()))
""")

# Of each client only the oldest unfinished export, also while that one is another's: a client has one turn at a time.
_CLAIM = text("""
    WITH next AS MATERIALIZED (
        SELECT e.client_id, e.id FROM call_export e
        WHERE e.finished_at IS NULL AND (e.lease_until IS NULL OR e.lease_until < clock_timestamp())
          AND NOT EXISTS (
              SELECT FROM call_export o WHERE o.client_id = e.client_id AND o.finished_at IS NULL
              AND (o.created_at, o.id) < (e.created_at, e.id))
        ORDER BY e.turn_at, e.client_id LIMIT 1
        FOR UPDATE SKIP LOCKED
    )
    UPDATE call_export e
    SET status = CASE WHEN e.attempts < :most THEN 'running' ELSE 'failed' END,
        attempts = e.attempts + 1,
        turn_at = clock_timestamp(),
        lease_until = CASE WHEN e.attempts < :most THEN clock_timestamp() + make_interval(secs => :lease) END,
        lease_token = CASE WHEN e.attempts < :most THEN CAST(:token AS uuid) END,
        error = CASE WHEN e.attempts < :most THEN e.error ELSE coalesce(e.error, 'cut short') END,
        finished_at = CASE WHEN e.attempts >= :most THEN now() END,
        expires_at = CASE WHEN e.attempts >= :most THEN now() + make_interval(days => :days) END
    FROM next WHERE e.client_id = next.client_id AND e.id = next.id
    RETURNING e.*
""")
_MOVE = text("""
    UPDATE call_export
    SET total = :total, seen = least(seen + :stretch, :total), written = written + :rows, size = size + :bytes,
        chunks = chunks + CASE WHEN :bytes > 0 THEN 1 ELSE 0 END,
        place_time = CAST(:place_time AS timestamptz), place_id = CAST(:place_id AS bigint),
        attempts = 0, error = NULL, lease_until = NULL, lease_token = NULL,
        status = CASE WHEN CAST(:place_id AS bigint) IS NULL THEN 'done' ELSE status END,
        finished_at = CASE WHEN CAST(:place_id AS bigint) IS NULL THEN now() END,
        expires_at = CASE WHEN CAST(:place_id AS bigint) IS NULL THEN now() + make_interval(days => :days) END
    WHERE client_id = :client AND id = :id AND lease_token = :token
    RETURNING status, chunks
""")
_KEEP = text("""
    INSERT INTO call_export_chunk (client_id, export_id, number, body) VALUES (:client, :id, :number, :body)
""")
_GIVE_BACK = text("""
    UPDATE call_export
    SET status = CASE WHEN attempts < :most THEN status ELSE 'failed' END,
        error = :error,
        lease_until = CASE WHEN attempts < :most THEN now() + make_interval(secs => attempts * attempts) END,
        lease_token = NULL,
        finished_at = CASE WHEN attempts >= :most THEN now() END,
        expires_at = CASE WHEN attempts >= :most THEN now() + make_interval(days => :days) END
    WHERE client_id = :client AND id = :id AND lease_token = :token
    RETURNING status
""")
