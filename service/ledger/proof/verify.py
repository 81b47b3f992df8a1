"""The proof of the ledger: every event played again, and everything that was ever derived from them compared.

Works through the customers part by part, each part in a snapshot of its own: writes go on, nothing is locked, and
memory does not grow with the number of events. What was sealed by a checkpoint is compared with that as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from sqlalchemy import Engine, text

from service.db.transaction import reading
from service.errors import NotFound
from service.ledger.proof.chain import NOTHING
from service.ledger.proof.checkpoint import Checkpoint, CheckpointKeys, prove, prove_newest
from service.ledger.proof.history import (
    COPY_OPTIONS,
    MICROSECONDS,
    WITHIN,
    Part,
    Progress,
    Selection,
    copied,
    events,
    events_to_copy,
    parts,
    snapshot,
)
from service.ledger.proof.replay import CUSTOMER, Break, Event, Point, Replay, money

EVERYTHING = Selection()


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found to hold; `checkpoint` is the newest, None where there is none yet."""

    customers: int
    events: int
    checkpoint: Checkpoint | None


@dataclass(frozen=True, slots=True)
class Head:
    """What the tables say of one customer, as text, NOTHING for NULL.

    The stream's head; the projection (`shown_…`); how many rows of other tables are its own; where the newest
    checkpoint saw its stream (`sealed_…`); and the position that is too high for any event.
    """

    customer_id: bytes
    customer_client: bytes
    client: bytes
    last_seq: bytes
    balance: bytes
    held: bytes
    status: bytes
    limit: bytes
    notification: bytes
    last_hash: bytes
    last_at: bytes
    last_position: bytes
    status_at: bytes
    shown_balance: bytes
    shown_held: bytes
    shown_status: bytes
    shown_limit: bytes
    shown_notification: bytes
    applied_seq: bytes
    holds: bytes
    waiting: bytes
    not_waiting: bytes
    last_waiting: bytes
    sealed_seq: bytes
    sealed_hash: bytes
    horizon: bytes


def verify(
    engine: Engine,
    selection: Selection = EVERYTHING,
    *,
    keys: CheckpointKeys | None = None,
    at_least: int = 0,
    progress: Progress = lambda _: None,
) -> Verified:
    """Prove a selection of the ledger. `at_least` is the number of a checkpoint that has to be there.

    Raises Break at the first thing that does not hold, Refusal where it can't be told (no key for the checkpoints that
    there are, no such customer), Unavailable.
    """
    with snapshot(engine) as connection:
        checkpoint = prove(connection, keys, at_least=at_least)
    customers = played = 0
    for part in parts(engine, selection):
        for seq in _verify_part(engine, part, progress):
            customers += 1
            played += seq
    if selection.customer_id is not None and not customers:
        raise NotFound(f"there is no customer {selection.customer_id}")
    with snapshot(engine) as connection:  # another may have been made meanwhile, and its heads been compared with
        newest = prove_newest(connection, keys, known=checkpoint)
    return Verified(customers, played, newest)


def count_events(engine: Engine, selection: Selection = EVERYTHING) -> int:
    """How many events there are to verify, for a progress bar."""
    with reading(engine) as connection:
        parameters = {"client": selection.client_id, "customer": selection.customer_id}
        return int(connection.scalar(_COUNT, parameters) or 0)


def _verify_part(engine: Engine, part: Part, progress: Progress) -> Iterator[int]:
    """For each customer of a part, the number of its events. Raises Break."""
    with snapshot(engine) as connection:
        with copied(connection, _HEADS, part.parameters) as lines:
            heads = {line.partition(b"\t")[0]: Head(*line.split(b"\t")) for line in lines}
        waiting = iter(heads)
        with events(connection, _EVENTS, part.parameters, progress) as history:
            for customer, stream in groupby(history, itemgetter(CUSTOMER)):
                if customer not in heads:
                    raise Break(int(customer), 1, "the customer of this event", "there", "missing")
                for other in iter(waiting.__next__, customer):
                    yield _verify_stream(heads[other], iter(()))
                yield _verify_stream(heads[customer], stream)
        for other in waiting:
            yield _verify_stream(heads[other], iter(()))


def _verify_stream(head: Head, stream: Iterator[Event]) -> int:
    """Play one customer's events and compare what is known of them elsewhere. Raises Break."""
    customer_id = int(head.customer_id)
    if NOTHING in {head.customer_client, head.client}:
        missing = "customer" if head.customer_client == NOTHING else "stream"
        sealed = None if head.sealed_seq == NOTHING else int(head.sealed_seq)
        raise Break(customer_id, sealed, f"the {missing}", "there", "missing")
    if head.customer_client != head.client:
        raise Break(customer_id, None, "client_id of the stream", head.customer_client, head.client)
    replay = Replay(customer_id, head.client)
    marks = {int(mark): replay.point() for mark in (head.applied_seq, head.sealed_seq) if mark != NOTHING}
    try:
        for event in stream:
            replay.play(event)
            if replay.seq in marks:
                marks[replay.seq] = replay.point()
        replay.finish()
    except (ValueError, IndexError, ArithmeticError) as error:
        raise Break(customer_id, replay.seq, "what the event says", "readable", error) from error
    _compare_seal(head, replay, marks)
    _compare_head(head, replay)
    _compare_projection(head, replay, marks[int(head.applied_seq)])
    return replay.seq


def _compare_seal(head: Head, replay: Replay, marks: dict[int, Point]) -> None:
    """The checkpoint saw this stream: it must be as long at least, and have the same hash there."""
    if head.sealed_seq == NOTHING:
        return
    seq = int(head.sealed_seq)
    if replay.seq < seq:
        raise Break(replay.customer_id, replay.seq + 1, "the event that the checkpoint saw", "there", "missing")
    if marks[seq].hash.hex().encode() != head.sealed_hash:
        raise Break(
            replay.customer_id, seq, "the hash that the checkpoint saw", head.sealed_hash, marks[seq].hash.hex()
        )


def _compare_head(head: Head, replay: Replay) -> None:
    """The stream's head says what its events come to."""
    expect = _expecting(replay.customer_id, replay.seq)
    if not replay.seq:
        raise Break(replay.customer_id, 1, "the first event", "there", "missing")
    expect("last_seq of the head", b"%d" % replay.seq, head.last_seq)
    expect("balance of the head", money(replay.balance).encode(), head.balance)
    expect("held of the head", replay.held, head.held)
    expect("status of the head", replay.status, head.status)
    if replay.limit_known:
        expect("creditlimit of the head", replay.limit, head.limit)
    expect("credit_notification of the head", replay.notification, head.notification)
    expect("last_hash of the head", replay.hash.hex().encode(), head.last_hash)
    expect("last_at of the head", b"%d" % replay.recorded_at, head.last_at)
    expect("status_at of the head", replay.status_at, head.status_at)
    expect("last_position of the head", replay.position, head.last_position)
    if int(head.last_position) >= int(head.horizon):
        raise Break(
            replay.customer_id, replay.seq, "position", f"below {head.horizon.decode()} (`flask ledger rebase`)",
            head.last_position,
        )  # fmt: skip
    expect("the number of holds", b"%d" % replay.hold_count, head.holds)


def _compare_projection(head: Head, replay: Replay, applied: Point) -> None:
    """The customer's row says what the events up to applied_seq come to, and the outbox has the others."""
    seq = int(head.applied_seq)
    expect = _expecting(replay.customer_id, seq)
    if not 0 <= seq <= replay.seq:
        expect("applied_seq of the customer", f"from 0 to {replay.seq}", head.applied_seq)
    expect("credit of the customer", applied.balance, head.shown_balance)
    expect("held of the customer", applied.held, head.shown_held)
    if seq:  # nothing is known of a status, nor of limits, before the first event
        expect("status of the customer", applied.status, head.shown_status)
        expect("credit_notification of the customer", applied.notification, head.shown_notification)
        if applied.limit_known:
            expect("creditlimit of the customer", applied.limit, head.shown_limit)
    if head.last_waiting != NOTHING and int(head.last_waiting) > replay.seq:
        raise Break(replay.customer_id, int(head.last_waiting), "the event of a row in the outbox", "there", "missing")
    if int(head.waiting) != replay.seq - seq:
        raise Break(replay.customer_id, int(head.not_waiting), "its row in the outbox", "there", "missing")


def _expecting(customer_id: int, seq: int) -> Callable[[str, object, object], None]:
    def expect(what: str, expected: object, found: object) -> None:
        if found != expected:
            raise Break(customer_id, seq, what, expected, found)

    return expect


_COUNT = text("""
    SELECT sum(last_seq) FROM stream
    WHERE (CAST(:client AS uuid) IS NULL OR client_id = :client)
      AND (CAST(:customer AS bigint) IS NULL OR customer_id = :customer)
""")
_EVENTS = events_to_copy("ledger_event e WHERE " + WITHIN.format("e.customer_id"))
_HEADS = f"""
    COPY (
        SELECT coalesce(c.id, s.customer_id, k.customer_id, h.customer_id, o.customer_id) AS customer_id,
            c.client_id AS customer_client, s.client_id,
            s.last_seq, s.balance, s.held, s.status, s.creditlimit, s.credit_notification, encode(s.last_hash, 'hex'),
            {MICROSECONDS.format("s.last_at")}, s.last_position, {MICROSECONDS.format("s.status_at")},
            c.credit, c.held, c.status, c.creditlimit, c.credit_notification, c.applied_seq,
            coalesce(h.number, 0), coalesce(o.number, 0),
            CASE WHEN coalesce(o.number, 0) <> s.last_seq - c.applied_seq THEN (
                SELECT coalesce(min(n), c.applied_seq + 1) FROM generate_series(c.applied_seq + 1, s.last_seq) AS n
                WHERE NOT EXISTS (SELECT FROM outbox WHERE outbox.customer_id = c.id AND outbox.seq = n)) END,
            o.last_seq, k.seq, encode(k.hash, 'hex'),
            (SELECT base + pg_snapshot_xmax(pg_current_snapshot())::text::bigint FROM feed_base)
        FROM (SELECT * FROM customer WHERE {WITHIN.format("id")}) c
        FULL JOIN (SELECT * FROM stream WHERE {WITHIN.format("customer_id")}) s ON s.customer_id = c.id
        FULL JOIN (SELECT * FROM checkpoint_head WHERE {WITHIN.format("customer_id")}) k
            ON k.customer_id = coalesce(c.id, s.customer_id)
        FULL JOIN (
            SELECT customer_id, count(*) AS number FROM hold WHERE {WITHIN.format("customer_id")} GROUP BY customer_id
        ) h ON h.customer_id = coalesce(c.id, s.customer_id, k.customer_id)
        FULL JOIN (
            SELECT r.customer_id, count(*) FILTER (WHERE r.seq > a.applied_seq) AS number, max(r.seq) AS last_seq
            FROM outbox r LEFT JOIN customer a ON a.id = r.customer_id
            WHERE {WITHIN.format("r.customer_id")} GROUP BY r.customer_id
        ) o ON o.customer_id = coalesce(c.id, s.customer_id, k.customer_id, h.customer_id)
        ORDER BY 1
    ) TO STDOUT {COPY_OPTIONS}
"""  # noqa: S608  constants
