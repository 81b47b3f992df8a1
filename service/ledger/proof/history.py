"""Reading the ledger as it was at one moment, part by part: fast, in constant memory, while writes go on.

A part is some customers, by a range of ids. What is read of one part comes out of one snapshot, so its events, heads,
projections and holds agree. Lines come by COPY, as PostgreSQL's own text.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, text

from service.db.driver import driver_of
from service.db.transaction import reading, translated
from service.ledger.proof.chain import COLUMNS, NOTHING, framed_at_once
from service.ledger.proof.replay import Event, framed_exactly

CUSTOMERS = 1000  # of one part: one snapshot should not last so long that vacuum has to wait for it
TICK = 1000  # events between two reports of progress
FIRST, LAST = -(2**63), 2**63 - 1  # ids are Postgres's bigint

Progress = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which customers are meant: all, those of one client, or one."""

    client_id: uuid.UUID | None = None
    customer_id: int | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """The customers with ids above `after` and up to `upto`; of those only `ids`, if there are any given."""

    after: int
    upto: int
    ids: Sequence[int] | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """For WITHIN."""
        return {"after": self.after, "upto": self.upto, "ids": None if self.ids is None else list(self.ids)}


WITHIN = (
    "{0} > %(after)s AND {0} <= %(upto)s AND (%(ids)s::bigint[] IS NULL OR {0} = ANY (%(ids)s::bigint[]))"  # of a Part
)


@contextmanager
def snapshot(engine: Engine, *, writing: bool = False) -> Iterator[Connection]:
    """A transaction that sees the database as it is at its first query. Raises Unavailable."""
    with translated(), engine.connect() as connection:
        connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=not writing)
        with connection.begin():
            yield connection


def parts(engine: Engine, selection: Selection = Selection()) -> Iterator[Part]:
    """The parts that cover a selection. Those for everything leave no id out, whether or not a customer has it."""
    if selection.customer_id is not None:
        yield Part(FIRST, LAST, [selection.customer_id])
        return
    after = FIRST
    while True:
        with reading(engine) as connection:
            parameters = {"after": after, "client": selection.client_id, "size": CUSTOMERS}
            ids = connection.scalars(_NEXT if selection.client_id is None else _NEXT_OF_CLIENT, parameters).all()
        if selection.client_id is not None:
            if ids:
                yield Part(after, ids[-1], ids)
        else:
            yield Part(after, ids[-1] if len(ids) == CUSTOMERS else LAST)
        if len(ids) < CUSTOMERS:
            return
        after = ids[-1]


@contextmanager
def copied(connection: Connection, statement: str, parameters: Mapping[str, Any]) -> Iterator[Iterator[bytes]]:
    """The lines of a COPY … TO STDOUT within the connection's transaction, without their ends.

    A context, because a transaction whose COPY nobody has read to its end, or called off, can't even be rolled back.
    """
    with driver_of(connection).cursor() as cursor, cursor.copy(statement.encode(), parameters) as copy:
        yield (bytes(line)[:-1] for line in copy)


@contextmanager
def events(
    connection: Connection, statement: str, parameters: Mapping[str, Any], progress: Progress
) -> Iterator[Iterator[Event]]:
    """The events that a statement of `events_to_copy` finds, as it orders them; progress is told their number."""
    with copied(connection, statement, parameters) as lines:
        yield _events(lines, progress)


def _events(lines: Iterable[bytes], progress: Progress) -> Iterator[Event]:
    read = 0
    for line in lines:
        event = line.split(b"\t")
        if b"\\" in line or event[0] != b"2":
            event = _exactly(event)
        elif b'"' in line:  # JSON in `detail`, as a rule
            event.append(framed_at_once([field.replace(b'"', b'\\"') for field in event[:_COVERED]]))
        else:
            event.append(framed_at_once(event[:_COVERED]))
        yield event
        read += 1
        if read == TICK:
            progress(read)
            read = 0
    progress(read)


def _exactly(raw: Event) -> Event:
    """Undo the escapes of COPY. Only here may a field be a backspace that is data: then it is no NOTHING."""
    texts = [None if field == NOTHING else _unescaped(field) for field in raw]
    return [*(NOTHING if text is None else text for text in texts), framed_exactly(texts)]


def events_to_copy(source: str) -> str:
    """The COPY of events `e`, in the order of their streams, out of a FROM clause with its conditions."""
    return _EVENTS.replace("SOURCE", source)


def _unescaped(field: bytes) -> bytes:
    return _ESCAPE.sub(lambda match: _ESCAPES.get(match[1], match[1]), field)


_COVERED = len(COLUMNS)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_ESCAPES = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}

_NEXT = text("SELECT id FROM customer WHERE id > :after ORDER BY id LIMIT :size")
_NEXT_OF_CLIENT = text("SELECT id FROM customer WHERE client_id = :client AND id > :after ORDER BY id LIMIT :size")
COPY_OPTIONS = "(NULL E'\\b', ENCODING 'UTF8')"
MICROSECONDS = "CASE WHEN isfinite({0}) THEN (extract(epoch FROM {0}) * 1000000)::bigint END"
_TO_COPY = ", ".join(
    MICROSECONDS.format("e.recorded_at") if column == "recorded_at" else f"e.{column}" for column in COLUMNS
)
_EVENTS = f"""
    COPY (
        SELECT {_TO_COPY}, encode(e.hash, 'hex'), e.position,
            CASE e.kind
                WHEN 'hold.created' THEN (
                    SELECT concat_ws('|', h.amount, h.captured, h.status, coalesce(h.closed_seq::text, '-'),
                                     h.client_id, {MICROSECONDS.format("h.expires_at")})
                    FROM hold h WHERE h.customer_id = e.customer_id AND h.seq = e.seq)
                WHEN 'credit.reversed' THEN (
                    SELECT concat_ws('|', o.kind, o.delta)
                    FROM ledger_event o WHERE o.customer_id = e.customer_id AND o.seq = e.refers_to)
            END,
            CASE WHEN e.reference IS NOT NULL THEN (
                SELECT r.customer_id || '|' || r.seq
                FROM ledger_reference r WHERE r.client_id = e.client_id AND r.reference = e.reference)
            END
        FROM SOURCE ORDER BY e.customer_id, e.seq
    ) TO STDOUT {COPY_OPTIONS}
"""  # noqa: S608  constants
