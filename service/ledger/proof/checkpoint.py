"""Signed checkpoints: what no hash chain can show by itself.

Who may write to every table can cut the tail of a stream off, or write a stream anew with all its hashes. So the heads
of all streams are noted from time to time, and sealed with an HMAC whose key the database does not have. Whatever is at
odds with the newest seal shows. Who may delete everything may delete the newest checkpoints too: their numbers and
signatures go to the log, so that somebody outside knows how many there have to be.

Making a checkpoint must not bless what it should catch: the one before it is proved first, and every stream that has
moved since is followed from the hash that was sealed then to its head, before that is sealed now.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter

import structlog
from sqlalchemy import Connection, Engine, text

from service.clock import rfc3339
from service.errors import Refusal
from service.ledger.proof.history import COPY_OPTIONS, Part, Progress, copied, events, events_to_copy, parts, snapshot
from service.ledger.proof.replay import CUSTOMER, SEQ, Break, Event, next_hash

log = structlog.get_logger()


class CannotProve(Refusal):
    """There are checkpoints, and no key to prove them with."""

    sentence = "the checkpoints cannot be verified: CHECKPOINT_KEY is not set"


@dataclass(frozen=True, slots=True)
class CheckpointKeys:
    """The key that signs, and the one before it, which may have signed what is there."""

    current: str
    previous: str | None = None

    def sign(self, message: bytes) -> bytes:
        """The HMAC-SHA256 of a message by the current key (32 bytes)."""
        return hmac.digest(self.current.encode(), message, "sha256")

    def fits(self, message: bytes, signature: bytes) -> bool:
        """Whether one of the keys has signed this."""
        keys = [key.encode() for key in (self.current, self.previous) if key is not None]
        return any(hmac.compare_digest(hmac.digest(key, message, "sha256"), signature) for key in keys)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A seal over all streams: how many, with how many events, a digest (SHA-256) over their heads, and its signature.

    `previous` is the signature of the one before it, None for the first.
    """

    number: int
    made_at: datetime
    streams: int
    events: int
    digest: bytes
    previous: bytes | None
    signature: bytes

    @property
    def message(self) -> bytes:
        """What is signed: the fields as netstrings, so that they can be told apart."""
        previous = (self.previous or b"").hex()
        fields = ("pbx-ledger checkpoint", self.number, rfc3339(self.made_at), self.streams, self.events,
                  self.digest.hex(), previous)  # fmt: skip
        return "".join(f"{len(str(field))}:{field}," for field in fields).encode()


@dataclass(frozen=True, slots=True)
class _Moved:
    """A stream that is not as the checkpoint saw it: the place and hash sealed then, and those of its head now."""

    customer_id: int
    sealed_seq: int
    sealed_hash: bytes
    seq: int | None
    hash: bytes | None


def prove(connection: Connection, keys: CheckpointKeys | None, *, at_least: int = 0) -> Checkpoint | None:
    """The newest checkpoint, if all of them hold and the noted heads are those that were sealed; None if there is none.

    Needs a snapshot. Raises Break, also where there is no checkpoint of the number `at_least`; CannotProve.
    """
    newest = _prove_signatures(connection, keys)
    number = newest.number if newest else 0
    if number < at_least:
        raise Break(None, None, "the newest checkpoint", f"number {at_least} or a later one", number or "none")
    streams, sealed_events, digest = _heads(connection)
    if newest is None:
        if streams:
            raise Break(None, None, "a checkpoint for the heads that were noted", "there", "missing")
        return None
    of = f"of checkpoint {number}"
    for what, expected, found in (
        ("the number of streams", newest.streams, streams),
        ("the number of events", newest.events, sealed_events),
        ("the digest", newest.digest.hex(), digest.hex()),
    ):
        if found != expected:
            raise Break(None, None, f"{what} {of}", expected, found)
    return newest


def prove_newest(connection: Connection, keys: CheckpointKeys | None, *, known: Checkpoint | None) -> Checkpoint | None:
    """The same where one is known to have held: only what is newer is proved."""
    number = connection.scalar(_NEWEST_NUMBER)
    return known if known and number == known.number else prove(connection, keys, at_least=known.number if known else 0)


def make_checkpoint(
    engine: Engine, keys: CheckpointKeys, *, only_if_moved: bool = False, progress: Progress = lambda _: None
) -> Checkpoint | None:
    """Seal the ledger as it is now; None if nothing has moved since the last time and that was asked for.

    Raises Break, and seals nothing, where the checkpoint before or what came since does not hold; Unavailable.
    """
    ranges = list(parts(engine))
    with snapshot(engine, writing=True) as tx:
        tx.execute(_ONE_AT_A_TIME)  # before the first query: only that fixes what the snapshot sees
        last = prove(tx, keys)
        moved = sum(_advance(tx, part, progress) for part in ranges)
        if only_if_moved and not moved:
            return None
        made = _sealed(tx, keys, last)
        tx.execute(_INSERT, {name: getattr(made, name) for name in _COLUMNS})
    return made


def keep_checkpoints(engine: Engine, keys: CheckpointKeys, every: float) -> Checkpoint | None:
    """Make a checkpoint if the newest is older than so many seconds and some stream has changed since; tell the log.

    Several clocks may do so. Where the ledger does not hold, the log gets an error and no checkpoint is made. Takes as
    long as it takes to follow the new events, some 100,000 a second. Raises Unavailable.
    """
    with snapshot(engine) as connection:
        if connection.scalar(_NOT_DUE, {"seconds": every}):
            return None
    try:
        made = make_checkpoint(engine, keys, only_if_moved=True)
    except Break as broken:
        facts = {"customer_id": broken.customer_id, "seq": broken.seq, "reason": broken.sentence}
        log.error("ledger broken", **facts)  # noqa: TRY400  the trace would say nothing
        return None
    if made:
        log.info("checkpoint", number=made.number, streams=made.streams, events=made.events,
                 signature=made.signature.hex())  # fmt: skip
    return made


def _prove_signatures(connection: Connection, keys: CheckpointKeys | None) -> Checkpoint | None:
    """The newest. Numbers go up from 1, each knows the signature before it, and keys fit from some number on.

    An old one may have been signed with a key that was given up since; nothing depends on it any more.
    """
    last: Checkpoint | None = None
    fitted = False
    for row in connection.execute(_ALL, execution_options={"yield_per": 1000}):
        if keys is None:
            raise CannotProve
        one = Checkpoint(*row)
        number = last.number + 1 if last else 1
        if one.number != number:
            raise Break(None, None, "the next checkpoint", f"number {number}", one.number)
        if one.previous != (last.signature if last else None):
            raise Break(None, None, f"the signature before checkpoint {number}", "the one that it knows", "another")
        fits = keys.fits(one.message, one.signature)
        if fitted and not fits:
            raise _unsigned(one)
        fitted, last = fits, one
    if last and not fitted:
        raise _unsigned(last)
    return last


def _unsigned(checkpoint: Checkpoint) -> Break:
    what = f"the signature of checkpoint {checkpoint.number}"
    return Break(None, None, what, "one by CHECKPOINT_KEY or CHECKPOINT_KEY_PREVIOUS", checkpoint.signature.hex())


def _heads(connection: Connection) -> tuple[int, int, bytes]:
    """How many heads are noted, with how many events, and the digest over them."""
    digest, streams, sealed_events = hashlib.sha256(), 0, 0
    with copied(connection, _SEALED_HEADS, {}) as lines:
        for line in lines:
            digest.update(line + b"\n")
            streams += 1
            sealed_events += int(line.split(b"\t")[1])
    return streams, sealed_events, digest.digest()


def _sealed(tx: Connection, keys: CheckpointKeys, last: Checkpoint | None) -> Checkpoint:
    streams, sealed_events, digest = _heads(tx)
    number = last.number + 1 if last else 1
    unsigned = Checkpoint(
        number, tx.execute(_NOW).scalar_one(), streams, sealed_events, digest, last.signature if last else None, b""
    )
    values = {name: getattr(unsigned, name) for name in _COLUMNS}
    return Checkpoint(**{**values, "signature": keys.sign(unsigned.message)})


def _advance(tx: Connection, part: Part, progress: Progress) -> int:
    """Follow the streams of a part that have moved to their heads, and note those; how many. Raises Break."""
    moved = [_Moved(*row) for row in tx.execute(_MOVED, {"after": part.after, "upto": part.upto})]
    for one in moved:
        _refuse_loss(one)
    if not moved:
        return 0
    parameters = {"ids": [one.customer_id for one in moved], "after": [one.sealed_seq for one in moved]}
    reached: dict[int, tuple[int, bytes]] = {}
    sealed = {one.customer_id: one for one in moved}
    with events(tx, _NEW_EVENTS, parameters, progress) as history:
        for customer, stream in groupby(history, itemgetter(CUSTOMER)):
            reached[int(customer)] = _follow(sealed[int(customer)], stream)
    for one in moved:
        _refuse_other_end(one, *reached.get(one.customer_id, (one.sealed_seq, one.sealed_hash)))
    heads = {"ids": [one.customer_id for one in moved], "seqs": [one.seq for one in moved]}
    tx.execute(_NOTE, {**heads, "hashes": [one.hash for one in moved]})
    return len(moved)


def _refuse_loss(one: _Moved) -> None:
    """A stream never vanishes, goes back, or changes without a new event."""
    if one.seq is None or one.hash is None:
        raise Break(one.customer_id, one.sealed_seq, "the stream that the checkpoint saw", "there", "missing")
    if one.seq < one.sealed_seq:
        raise Break(one.customer_id, one.seq + 1, "the event that the checkpoint saw", "there", "missing")
    if one.seq == one.sealed_seq:
        raise Break(one.customer_id, one.seq, "the hash that the checkpoint saw", one.sealed_hash.hex(), one.hash.hex())


def _follow(sealed: _Moved, stream: Iterator[Event]) -> tuple[int, bytes]:
    """The place and hash that the events after the sealed one lead to. Raises Break."""
    seq, reached = sealed.sealed_seq, sealed.sealed_hash
    for event in stream:
        seq += 1
        if int(event[SEQ]) != seq:
            raise Break(sealed.customer_id, seq, "the next event", seq, event[SEQ])
        reached = next_hash(sealed.customer_id, seq, reached, event)
    return seq, reached


def _refuse_other_end(one: _Moved, seq: int, reached: bytes) -> None:
    """The events lead to the stream's head."""
    if seq != one.seq:
        raise Break(one.customer_id, seq, "last_seq of the head", seq, one.seq)
    if reached != one.hash:
        raise Break(one.customer_id, seq, "last_hash of the head", reached.hex(), (one.hash or b"").hex())


_COLUMNS = ("number", "made_at", "streams", "events", "digest", "previous", "signature")
_ONE_AT_A_TIME = text("LOCK TABLE ledger_checkpoint IN SHARE ROW EXCLUSIVE MODE")
_ALL = text(
    "SELECT number, made_at, streams, events, digest, previous, signature FROM ledger_checkpoint ORDER BY number"
)
_NEWEST_NUMBER = text("SELECT max(number) FROM ledger_checkpoint")
_NOT_DUE = text("""
    SELECT EXISTS (SELECT FROM ledger_checkpoint WHERE made_at > clock_timestamp() - make_interval(secs => :seconds))
        OR NOT EXISTS (
            SELECT FROM stream s FULL JOIN checkpoint_head k ON k.customer_id = s.customer_id
            WHERE k.seq IS DISTINCT FROM s.last_seq OR k.hash IS DISTINCT FROM s.last_hash)
""")
_NOW = text("SELECT clock_timestamp()")
_INSERT = text("""
    INSERT INTO ledger_checkpoint (number, made_at, streams, events, digest, previous, signature)
    VALUES (:number, :made_at, :streams, :events, :digest, :previous, :signature)
""")
_MOVED = text("""
    SELECT coalesce(s.customer_id, k.customer_id), coalesce(k.seq, 0), coalesce(k.hash, CAST('' AS bytea)),
           s.last_seq, s.last_hash
    FROM (SELECT * FROM stream WHERE customer_id > :after AND customer_id <= :upto) s
    FULL JOIN (SELECT * FROM checkpoint_head WHERE customer_id > :after AND customer_id <= :upto) k
        ON k.customer_id = s.customer_id
    WHERE k.seq IS DISTINCT FROM s.last_seq OR k.hash IS DISTINCT FROM s.last_hash
    ORDER BY 1
""")
_NOTE = text("""
    INSERT INTO checkpoint_head (customer_id, seq, hash)
    SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:seqs AS bigint[]), CAST(:hashes AS bytea[]))
    ON CONFLICT (customer_id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash
""")
_NEW_EVENTS = events_to_copy("""
    unnest(%(ids)s::bigint[], %(after)s::bigint[]) AS moved (customer_id, seq)
    JOIN ledger_event e ON e.customer_id = moved.customer_id AND e.seq > moved.seq
""")
_SEALED_HEADS = f"""
    COPY (SELECT customer_id, seq, encode(hash, 'hex') FROM checkpoint_head ORDER BY customer_id)
    TO STDOUT {COPY_OPTIONS}
"""  # noqa: S608  constants
