"""One stream, played again from its first event: every rule that an event has to keep, checked one by one.

Pure, and independent of the SQL that wrote the events. Fields are bytes, as `history` copies them; sums are integers of
0.00001 credit units. Written for speed: a hundred thousand events a second is what makes a proof of the whole ledger
something that one does every night.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from service.ledger.proof.chain import COLUMNS, FIELDS, NOTHING, framed

Event = list[bytes]
"""The fields of the newest format, in its order, as text, NOTHING for NULL; then what HASH and those after it name."""

FORMAT, CUSTOMER, SEQ, CLIENT, _, KIND, AMOUNT, DELTA, BALANCE, HELD, LIMIT, STATUS, REFERS, DETAIL = range(14)
REFERENCE, KEY, RECORDED = 15, 16, 19
HASH, POSITION = 20, 21
BESIDE = 22  # for a hold its row in the table, for a reversal what it reverses
BOOKED = 23  # for an event with a reference, the place that the table has for it
FRAMED = 24  # the fields as the hash covers them

ZERO = b"0.00000"
_PLACES = {name: place for place, name in enumerate(COLUMNS)}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_OF_FORMAT_1 = frozenset({b"customer.created", b"credit.set", b"status.set"})
_MOVES_HELD = frozenset({b"hold.created", b"hold.captured", b"hold.released", b"hold.expired"})
_MOVES_STATUS = frozenset({b"customer.created", b"status.set"})
_MOVES_LIMIT = frozenset({b"customer.created", b"limit.set"})


class Break(Exception):
    """Where the ledger does not hold: whose, at which event, what was expected there and what was found."""

    def __init__(self, customer_id: int | None, seq: int | None, what: str, expected: object, found: object) -> None:
        self.customer_id = customer_id
        self.seq = seq
        self.what = what
        self.expected = _readable(expected)
        self.found = _readable(found)
        super().__init__(self.sentence)

    @property
    def sentence(self) -> str:
        """`customer 7, event 3: balance_after should be 12.50000, and is 13.00000`."""
        places = [("customer", self.customer_id), ("event", self.seq)]
        where = ", ".join(f"{name} {value}" for name, value in places if value is not None)
        return f"{where}{': ' if where else ''}{self.what} should be {self.expected}, and is {self.found}"


@dataclass(frozen=True, slots=True)
class Point:
    """A stream after `seq` events, as text; `limit_known` as in Replay."""

    seq: int
    balance: bytes
    held: bytes
    status: bytes
    limit: bytes
    limit_known: bool
    notification: bytes
    hash: bytes


class Replay:
    """The fold of one stream. `limit_known`: events of format 1 don't tell the credit limit."""

    __slots__ = (
        "balance", "client", "customer_id", "hash", "held", "hold_count", "holds", "limit", "limit_known",
        "notification", "position", "recorded_at", "reversed", "seq", "status", "status_at",
    )  # fmt: skip

    def __init__(self, customer_id: int, client: bytes) -> None:
        self.customer_id = customer_id
        self.client = client
        self.seq = 0
        self.hash = b""
        self.balance = 0
        self.held = ZERO
        self.status = NOTHING
        self.limit = NOTHING
        self.limit_known = True
        self.notification = NOTHING
        self.recorded_at = 0
        self.status_at = NOTHING
        self.position = b"0"
        self.holds: dict[int, tuple[int, list[bytes]]] = {}  # the open ones: amount, and the row of the table
        self.hold_count = 0
        self.reversed: dict[int, int] = {}  # what was taken back of a change so far

    def play(self, event: Event) -> None:
        """Take the next event. Raises Break at the first rule that it does not keep."""
        self.seq += 1
        if int(event[SEQ]) != self.seq:
            raise Break(self.customer_id, self.seq, "the next event", self.seq, event[SEQ])
        self.hash = next_hash(self.customer_id, self.seq, self.hash, event)
        if event[CLIENT] != self.client:
            raise self.broken("client_id", self.client, event[CLIENT])
        recorded_at = int(event[RECORDED])
        if recorded_at < self.recorded_at and self.seq > 1:
            raise self.broken("recorded_at", f"not before {_moment(self.recorded_at)}", _moment(recorded_at))
        self.recorded_at = recorded_at
        if event[POSITION] != self.position:
            self._move_position(event)
        if event[REFERENCE] != NOTHING:
            self.expect(
                "the event that its reference stands for", b"%d|%d" % (self.customer_id, self.seq), event[BOOKED]
            )
        self._fold(event)

    def _fold(self, event: Event) -> None:
        kind, held, status, limit = event[KIND], event[HELD], event[STATUS], event[LIMIT]
        moved, balance = cents(event[DELTA]), cents(event[BALANCE])
        if self.balance + moved != balance:
            raise self.broken("balance_after", money(self.balance + moved), event[BALANCE])
        rule = RULES.get(kind)
        if rule is None:
            raise self.broken("kind", "one of those that there are", kind)
        if event[FORMAT] != b"2":
            self._check_old(event)
        elif limit != self.limit and self.limit_known and kind not in _MOVES_LIMIT:
            raise self.broken("creditlimit_after", self.limit, limit)
        if held != self.held and kind not in _MOVES_HELD:
            raise self.broken("held_after", self.held, held)
        if status != self.status and kind not in _MOVES_STATUS and not self._begins_without_status(event):
            raise self.broken("status_after", self.status, status)
        rule(self, event, moved)
        self.balance, self.held, self.status, self.limit = balance, held, status, limit
        self.limit_known = event[FORMAT] == b"2"

    def _move_position(self, event: Event) -> None:
        if int(event[POSITION]) < int(self.position):
            raise self.broken("position", f"{self.position.decode()} or more", event[POSITION])
        self.position = event[POSITION]

    def _check_old(self, event: Event) -> None:
        """Format 1 does not cover what came with format 2: it has to be as the migration left it."""
        self.expect("hash_format", b"1", event[FORMAT])
        if event[KIND] not in _OF_FORMAT_1:
            raise self.broken("kind", "one of format 1", event[KIND])
        self.expect("held_after", ZERO, event[HELD])
        self.expect("position", b"0", event[POSITION])
        for name, field in (("creditlimit_after", LIMIT), ("refers_to", REFERS), ("detail", DETAIL), ("key", KEY)):
            self.expect(name, NOTHING, event[field])

    def _begins_without_status(self, event: Event) -> bool:
        """The first door let a stream begin with a 'set'; its status was the head's."""
        return self.seq == 1 and event[FORMAT] == b"1"

    def finish(self) -> None:
        """Check what only the end of the stream can tell: holds that are still open. Raises Break."""
        for seq, (_, (_, captured, status, closed_seq, *_)) in self.holds.items():
            for name, expected, found in (
                ("captured", ZERO, captured),
                ("status", b"open", status),
                ("closed_seq", b"-", closed_seq),
            ):
                if found != expected:
                    raise Break(self.customer_id, seq, f"the hold's {name}", expected, found)

    def point(self) -> Point:
        """Where the stream is now."""
        return Point(
            self.seq, money(self.balance).encode(), self.held, self.status, self.limit, self.limit_known,
            self.notification, self.hash,
        )  # fmt: skip

    def expect(self, what: str, expected: object, found: object) -> None:
        """Raises Break where the two differ."""
        if found != expected:
            raise self.broken(what, expected, found)

    def broken(self, what: str, expected: object, found: object) -> Break:
        """A Break at this event."""
        return Break(self.customer_id, self.seq, what, expected, found)


def next_hash(customer_id: int, seq: int, previous: bytes, event: Event) -> bytes:
    """The hash of an event, after the one before it. Raises Break where the event has another."""
    digest = hashlib.sha256(previous + event[FRAMED]).digest()
    if digest.hex().encode() != event[HASH]:
        # A control character was not escaped in the quick frame. Such frames can still be told apart, so a quick one
        # that fits is as good as an exact one.
        exact = framed_exactly([None if field == NOTHING else field for field in event])
        digest = hashlib.sha256(previous + exact).digest()
        if digest.hex().encode() != event[HASH]:
            raise Break(customer_id, seq, "hash", digest.hex(), event[HASH])
    return digest


def framed_exactly(fields: Sequence[bytes | None]) -> bytes:
    """What the hash of an event covers, by its own format; b"" for a format that nobody knows."""
    names = FIELDS.get(int(fields[FORMAT] or 0), ())
    texts = [None if (field := fields[_PLACES[name]]) is None else field.decode() for name in names]
    return framed(int(fields[FORMAT] or 0), texts)


def cents(amount: bytes) -> int:
    """An amount as PostgreSQL writes it, five decimals, in units of 0.00001."""
    return int(amount.replace(b".", b""))


def money(units: int) -> str:
    """The way back: `-12.50000`."""
    return f"{'-' if units < 0 else ''}{abs(units) // 100_000}.{abs(units) % 100_000:05}"


def _created(replay: Replay, event: Event, _: int) -> None:
    replay.expect("the place of customer.created", 1, replay.seq)
    replay.expect("amount", event[BALANCE], event[AMOUNT])
    if event[FORMAT] == b"2":
        _check_limits(replay, event)


def _set(replay: Replay, event: Event, _: int) -> None:
    if event[AMOUNT] != event[BALANCE]:
        raise replay.broken("balance_after", event[AMOUNT], event[BALANCE])
    _check_begun(replay, event)


def _added(replay: Replay, event: Event, _: int) -> None:
    if event[DELTA] != event[AMOUNT]:
        raise replay.broken("delta", event[AMOUNT], event[DELTA])
    _check_begun(replay, event)


def _charged(replay: Replay, event: Event, moved: int) -> None:
    replay.expect("delta", money(-cents(event[AMOUNT])), event[DELTA].decode())
    if moved > 0:
        raise replay.broken("amount", "0 or more", event[AMOUNT])
    _check_begun(replay, event)


def _without_money(replay: Replay, event: Event, _: int) -> None:
    replay.expect("delta", ZERO, event[DELTA])
    replay.expect("amount", NOTHING, event[AMOUNT])
    _check_begun(replay, event)


def _status_set(replay: Replay, event: Event, moved: int) -> None:
    _without_money(replay, event, moved)
    replay.status_at = event[RECORDED]


def _limit_set(replay: Replay, event: Event, moved: int) -> None:
    _without_money(replay, event, moved)
    _check_limits(replay, event)


def _check_begun(replay: Replay, event: Event) -> None:
    if replay.seq == 1 and event[FORMAT] != b"1":
        raise replay.broken("the first event", "customer.created", event[KIND])


def _check_limits(replay: Replay, event: Event) -> None:
    """A key that is there with null takes the limit away; one that is not there leaves it."""
    detail = _parsed(replay, event)
    if "creditlimit" in detail:
        replay.expect("creditlimit_after", _credit(replay, detail["creditlimit"]), event[LIMIT])
    elif replay.limit_known:
        replay.expect("creditlimit_after", replay.limit, event[LIMIT])
    if "credit_notification" in detail:
        replay.notification = _credit(replay, detail["credit_notification"])


def _warned(replay: Replay, event: Event, moved: int) -> None:
    _without_money(replay, event, moved)
    _check_refers(replay, event)


def _reversed(replay: Replay, event: Event, moved: int) -> None:
    seq = _check_refers(replay, event)
    kind, _, delta = event[BESIDE].partition(b"|")
    original = cents(delta)
    if kind == b"credit.reversed" or original == 0:
        raise replay.broken("refers_to", "a change of credit", kind)
    rest = abs(original) - replay.reversed.get(seq, 0)
    taken = rest if event[AMOUNT] == NOTHING else cents(event[AMOUNT])
    if not 0 < taken <= rest:
        raise replay.broken("amount", f"more than 0 and at most {money(rest)}", money(taken))
    replay.expect("delta", money(-taken if original > 0 else taken), event[DELTA].decode())
    if moved:
        replay.reversed[seq] = replay.reversed.get(seq, 0) + taken


def _hold_created(replay: Replay, event: Event, _: int) -> None:
    replay.expect("delta", ZERO, event[DELTA])
    amount = cents(event[AMOUNT])
    if amount <= 0:
        raise replay.broken("amount", "more than 0", event[AMOUNT])
    replay.expect("held_after", money(cents(replay.held) + amount), event[HELD].decode())
    if event[BESIDE] == NOTHING:
        raise replay.broken("the row of the hold", "there", "missing")
    row = event[BESIDE].split(b"|")
    replay.expect("the hold's amount", event[AMOUNT], row[0])
    replay.expect("the hold's client_id", replay.client, row[4])
    replay.expect("the hold's expires_at", _expiry(replay, event), _moment(int(row[5])))
    replay.holds[replay.seq] = amount, row
    replay.hold_count += 1


def _hold_closed(replay: Replay, event: Event, moved: int) -> None:
    seq = _check_refers(replay, event)
    if seq not in replay.holds:
        raise replay.broken("refers_to", "a hold that is open", event[REFERS])
    amount, row = replay.holds.pop(seq)
    replay.expect("held_after", money(cents(replay.held) - amount), event[HELD].decode())
    _check_taken(replay, event, amount)
    replay.expect("the captured amount of its hold", money(-moved), row[1].decode())
    replay.expect("the status of its hold", event[KIND].removeprefix(b"hold."), row[2])
    replay.expect("the closed_seq of its hold", b"%d" % replay.seq, row[3])


def _check_taken(replay: Replay, event: Event, amount: int) -> None:
    """A capture takes all of its hold or a part; what else closes a hold takes nothing."""
    if event[KIND] != b"hold.captured":
        replay.expect("delta", ZERO, event[DELTA])
        return
    taken = amount if event[AMOUNT] == NOTHING else cents(event[AMOUNT])
    if not 0 < taken <= amount:
        raise replay.broken("amount", f"more than 0 and at most {money(amount)}", money(taken))
    replay.expect("delta", money(-taken), event[DELTA].decode())


def _check_refers(replay: Replay, event: Event) -> int:
    if event[REFERS] == NOTHING or not 0 < int(event[REFERS]) < replay.seq:
        raise replay.broken("refers_to", "an event before this one", event[REFERS])
    return int(event[REFERS])


def _parsed(replay: Replay, event: Event) -> dict[str, Any]:
    if event[DETAIL] == NOTHING:
        return {}
    try:
        detail = json.loads(event[DETAIL], parse_float=Decimal, parse_int=Decimal)
    except ValueError:
        detail = None
    if not isinstance(detail, dict):
        raise replay.broken("detail", "a JSON object", event[DETAIL])
    return detail


def _credit(replay: Replay, value: object) -> bytes:
    """Rounded as PostgreSQL does when it makes a credit of it."""
    if value is None:
        return NOTHING
    try:
        return str(Decimal(str(value)).quantize(Decimal("0.00001"), ROUND_HALF_UP) + 0).encode()
    except ArithmeticError:
        raise replay.broken("detail", "amounts", value) from None


def _expiry(replay: Replay, event: Event) -> str:
    try:
        at = datetime.fromisoformat(str(_parsed(replay, event).get("expires_at")))
        return _moment((at - _EPOCH) // _MICROSECOND)
    except (ValueError, TypeError):
        raise replay.broken("expires_at in detail", "a moment", event[DETAIL]) from None


def _moment(microseconds: int) -> str:
    try:
        return (_EPOCH + microseconds * _MICROSECOND).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return f"{microseconds} microseconds after 1970"


def _readable(value: object) -> str:
    if value == NOTHING:
        return "nothing"
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


RULES: dict[bytes, Callable[[Replay, Event, int], None]] = {
    b"customer.created": _created,
    b"credit.set": _set,
    b"credit.added": _added,
    b"credit.imported": _set,
    b"credit.reversed": _reversed,
    b"call.charged": _charged,
    b"credit.low": _warned,
    b"credit.exhausted": _warned,
    b"status.set": _status_set,
    b"limit.set": _limit_set,
    b"hold.created": _hold_created,
    b"hold.captured": _hold_closed,
    b"hold.released": _hold_closed,
    b"hold.expired": _hold_closed,
    b"callerid.added": _without_money,
    b"callerid.removed": _without_money,
}
