"""Exports: calls of any period as one gzipped CSV, which workers write and PostgreSQL keeps for some days.

What a client sees of it: ask for one, see how far it is, read the file. How it is written: `export_turn`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, func, insert, or_, select, text

from service.calls.period import Period
from service.calls.wanted import Wanted
from service.db.transaction import reading, single_statement
from service.errors import Conflict, NotFound
from service.models import CallExport, CallExportChunk, Client

MOST_UNFINISHED = 10  # exports of a client: they are written one after the other
FORGOTTEN_AT_ONCE = 100  # chunks that one statement deletes, a hundred kilobytes each
_E, _C = CallExport, CallExportChunk
_NARROWED = ("source", "customer_id", "destination", "disposition", "min_duration", "unmatched")


class Status(StrEnum):
    """How far an export is."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Export:
    """An export as its owner may see it; `size` in bytes, of so many chunks.

    `total` calls have to be looked at (None: not counted yet), `seen` have been; `written` are in the file. `error` is
    the class of what went wrong last.
    """

    id: uuid.UUID
    wanted: Wanted
    status: Status
    total: int | None
    seen: int
    written: int
    size: int
    chunks: int
    error: str | None
    created_at: datetime
    finished_at: datetime | None
    expires_at: datetime | None

    @property
    def progress(self) -> float:
        """From 0 to 1, and 1 only when it is done."""
        if self.status is Status.DONE:
            return 1.0
        return min(round(self.seen / self.total, 3), 0.999) if self.total else 0.0


def create_export(tx: Connection, wanted: Wanted) -> Export:
    """Have calls of a period exported. Raises Conflict where the client has MOST_UNFINISHED already."""
    assert wanted.when is not None
    _require_room(tx, wanted.client_id)
    values = {name: getattr(wanted, name) for name in _NARROWED}
    row = tx.execute(
        insert(_E)
        .values(client_id=wanted.client_id, period_start=wanted.when.start, period_end=wanted.when.end, **values)
        .returning(*_COLUMNS)
    )
    return _export(row.one())


def _require_room(tx: Connection, client_id: uuid.UUID) -> None:
    """Raises Conflict where the client has as many as it may; two that are made at once count in turn."""
    tx.execute(select(Client.id).where(Client.id == client_id).with_for_update(key_share=True))
    unfinished = tx.scalar(
        select(func.count()).select_from(_E).where(_E.client_id == client_id, _E.finished_at.is_(None))
    )
    if (unfinished or 0) >= MOST_UNFINISHED:
        raise Conflict(f"a client can have {MOST_UNFINISHED} unfinished exports at most")


def find_export(engine: Engine, client_id: uuid.UUID, export_id: uuid.UUID) -> Export:
    """One export. Raises NotFound, also when its days are over."""
    with reading(engine) as connection:
        row = connection.execute(select(*_COLUMNS).where(*_there(client_id), _E.id == export_id)).one_or_none()
    if row is None:
        raise export_not_found()
    return _export(row)


def list_exports(engine: Engine, client_id: uuid.UUID, *, limit: int, offset: int) -> tuple[list[Export], int]:
    """A client's exports, newest first, and how many there are."""
    page = select(*_COLUMNS).where(*_there(client_id)).order_by(_E.created_at.desc(), _E.id.desc())
    with reading(engine) as connection:
        rows = connection.execute(page.limit(limit).offset(offset)).all()
        total = connection.scalar(select(func.count()).select_from(_E).where(*_there(client_id)))
    return [_export(row) for row in rows], total or 0


def read_file(engine: Engine, export: Export) -> Iterator[bytes]:
    """The file of an export that is done, a chunk at a time, each read when it is asked for.

    Raises Conflict at once where it is not done; NotFound when its days are over in the middle.
    """
    if export.status is not Status.DONE:
        raise Conflict("the export has failed" if export.status is Status.FAILED else "the export is not done yet")
    return (_chunk(engine, export, number) for number in range(1, export.chunks + 1))


def _chunk(engine: Engine, export: Export, number: int) -> bytes:
    key = (_C.client_id == export.wanted.client_id, _C.export_id == export.id, _C.number == number)
    with reading(engine) as connection:
        body = connection.scalar(select(_C.body).where(*key))
    if body is None:
        raise export_not_found()
    return bytes(body)


def forget_expired(engine: Engine) -> int:
    """Delete the exports whose days are over, their chunks first; how many exports."""
    deleted = FORGOTTEN_AT_ONCE
    while deleted == FORGOTTEN_AT_ONCE:
        with single_statement(engine) as connection:
            deleted = connection.execute(_FORGET_CHUNKS, {"limit": FORGOTTEN_AT_ONCE}).rowcount
    with single_statement(engine) as connection:
        return connection.execute(_FORGET_EXPORTS).rowcount


def export_not_found() -> NotFound:
    """No export of this client has that id, or its days are over."""
    return NotFound("export not found")


def _there(client_id: uuid.UUID) -> tuple[ColumnElement[bool], ...]:
    return _E.client_id == client_id, or_(_E.expires_at.is_(None), _E.expires_at > func.now())


_COLUMNS = (
    _E.client_id, _E.id, _E.period_start, _E.period_end, *(getattr(_E, name) for name in _NARROWED), _E.status,
    _E.total, _E.seen, _E.written, _E.size, _E.chunks, _E.error, _E.created_at, _E.finished_at, _E.expires_at,
)  # fmt: skip


def wanted_by(row: Row[Any]) -> Wanted:
    """Which calls a row of `call_export` is about."""
    period = Period(row.period_start, row.period_end)
    return Wanted(row.client_id, period, **{name: getattr(row, name) for name in _NARROWED})


def _export(row: Row[Any]) -> Export:
    same = ("id", "total", "seen", "written", "size", "chunks", "error", "created_at", "finished_at", "expires_at")
    return Export(wanted=wanted_by(row), status=Status(row.status), **{name: getattr(row, name) for name in same})


_FORGET_CHUNKS = text("""
    DELETE FROM call_export_chunk WHERE (client_id, export_id, number) IN (
        SELECT c.client_id, c.export_id, c.number
        FROM call_export e JOIN call_export_chunk c ON c.client_id = e.client_id AND c.export_id = e.id
        WHERE e.expires_at < now() LIMIT :limit)
""")
_FORGET_EXPORTS = text("""
    DELETE FROM call_export e WHERE e.expires_at < now() AND NOT EXISTS (
        SELECT FROM call_export_chunk c WHERE c.client_id = e.client_id AND c.export_id = e.id)
""")
