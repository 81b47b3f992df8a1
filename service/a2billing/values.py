"""One value of a raw row at a time: whole numbers, money, flags, moments.

Raw is what the source gives: bytes or text as its database prints it, or None; a float has single precision. Pure.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from zoneinfo import ZoneInfo

Raw = bytes | str | None

CENT = Decimal("0.00001")  # credit has five decimals
CREDIT_LIMIT = Decimal(10**10)  # and ten digits before the point
BIGINT, INTEGER = 2**63, 2**31
FIRST_YEAR = 1971  # before it there is only the zero of somebody's calendar: 0000-00-00, 0001-01-01, 1970-01-01

_WHOLE = re.compile(r"[+-]?\d{1,30}(\.0*)?", re.ASCII)
_TRUE, _FALSE = {"t", "true", "1", "y", "yes", "on"}, {"f", "false", "0", "n", "no", "off", ""}


class Unfit(Exception):
    """A row that can't be taken; `args[0]` is the reason, the same for all rows of its kind."""


@dataclass(slots=True)
class Notes:
    """What was put right in a row that is taken nevertheless."""

    said: list[str] = field(default_factory=list)

    def add(self, note: str) -> None:
        """Say something once."""
        if note not in self.said:
            self.said.append(note)


def plain(raw: Raw | float) -> str:
    """The raw value as text, without spaces around it."""
    if isinstance(raw, bytes):
        return raw.decode("latin-1").strip()
    return shortest(raw) if isinstance(raw, float) else (raw or "").strip()


def shortest(single: float) -> str:
    """The fewest digits that mean this float of single precision: what somebody has once written into it.

    >>> shortest(1600.300048828125)
    '1600.3'
    """
    for digits in range(6, 9):
        text = f"{single:.{digits}g}"
        if _as_single(float(text)) == single:
            return text
    return f"{single:.9g}"


def whole(raw: Raw, what: str, limit: int = INTEGER) -> int | None:
    """A whole number from -limit to below limit; None for none. Raises Unfit."""
    text = plain(raw)
    if not text:
        return None
    if not _WHOLE.fullmatch(text):
        raise Unfit(f"{what} is no whole number")
    value = int(text.partition(".")[0])
    if not -limit <= value < limit:
        raise Unfit(f"{what} is too large")
    return value


def exact_money(raw: Raw, what: str) -> Decimal:
    """An amount that has to be exact. Raises Unfit for more than five decimals, which nobody may round away."""
    amount = _number(raw, what)
    try:
        rounded = amount.quantize(CENT)
    except InvalidOperation:
        raise Unfit(f"{what} has more than 10 digits before the point") from None
    if rounded != amount:
        raise Unfit(f"{what} has more than 5 decimals")
    return _within(rounded, what)


def rounded_money(raw: Raw | float, what: str) -> Decimal:
    """An amount that was kept as a float: rounded half up to five decimals; 0 for none. Raises Unfit."""
    if not plain(raw):
        return Decimal(0)
    try:
        return _within(_number(raw, what).quantize(CENT, ROUND_HALF_UP), what)
    except InvalidOperation:
        raise Unfit(f"{what} has more than 10 digits before the point") from None


def flag(raw: Raw) -> bool | None:
    """True or false by what A2Billing's versions have written: t, f, 1, 0, true, false. None for anything else."""
    text = plain(raw).lower()
    return True if text in _TRUE else False if text in _FALSE else None


def wall_clock(raw: Raw) -> datetime | None:
    """What a date column shows, without a zone (or with the offset that it shows). None for none and the impossible."""
    text = plain(raw)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.year >= FIRST_YEAR else None


def moment_of(raw: Raw, zone: ZoneInfo, not_before: datetime | None = None) -> datetime | None:
    """The moment (UTC) that a date column shows in a zone. None for none and the impossible.

    An hour that the clocks of the zone show twice is the first of the two, but for what can't be before a moment.
    """
    shown = wall_clock(raw)
    if shown is None:
        return None
    try:
        moment = (shown if shown.tzinfo else shown.replace(tzinfo=zone)).astimezone(UTC)
        if not_before is not None and moment < not_before and not shown.tzinfo:
            moment = max(moment, shown.replace(tzinfo=zone, fold=1).astimezone(UTC))
    except (ValueError, OverflowError):
        return None
    return moment


def after(start: datetime, seconds: int) -> datetime:
    """So many seconds later; at the end of the calendar, `start` itself."""
    try:
        return start + timedelta(seconds=seconds)
    except OverflowError:
        return start


def _as_single(value: float) -> float:
    try:
        (single,) = struct.unpack("f", struct.pack("f", value))
    except OverflowError:
        return value
    return float(single)


def _number(raw: Raw | float, what: str) -> Decimal:
    text = plain(raw)
    if not text:
        raise Unfit(f"{what} is missing")
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise Unfit(f"{what} is no number") from None
    if not number.is_finite():
        raise Unfit(f"{what} is no number")
    return number


def _within(amount: Decimal, what: str) -> Decimal:
    if abs(amount) >= CREDIT_LIMIT:
        raise Unfit(f"{what} has more than 10 digits before the point")
    return amount if amount else Decimal(0)
