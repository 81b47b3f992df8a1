"""Which stretch of time a caller means: two moments in either order, at most 31 days apart, or today."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from service.errors import Invalid

MAX_PERIOD = timedelta(days=31)
TOO_LONG = "date range must be in 31 days"  # the reference's own sentence
BEYOND = "start_date, end_date: beyond the calendar"
_DAY = timedelta(days=1)
_TICK = timedelta(microseconds=1)  # what Postgres tells apart
# Within these, a moment can be had in any time zone, and one more behind it.
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC) + _DAY, datetime.max.replace(tzinfo=UTC) - _DAY

# `YYYY-MM-DD HH:MM:SS`, or RFC 3339. A '+' that was not escaped in a query arrives as a space: read it as what it was.
_MOMENT = re.compile(
    r"(?P<date>\d{4}-\d{2}-\d{2})[ Tt](?P<time>\d{2}:\d{2}:\d{2})(?P<fraction>\.\d{1,30})?"
    r"(?P<offset>[Zz]|[+ -]\d{2}:\d{2})?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Period:
    """From `start` to `end`, both inclusive."""

    start: datetime
    end: datetime


def read_moment(text: str, timezone: ZoneInfo) -> datetime:
    """A moment from `2021-02-18 17:20:58` (in `timezone`) or RFC 3339. Raises ValueError."""
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise ValueError("not a date and time like 2021-02-18 17:20:58 or 2021-02-18T17:20:58Z")
    fraction = (match["fraction"] or "")[:7]  # microseconds; finer is cut off
    offset = (match["offset"] or "").upper().replace(" ", "+")
    try:
        moment = datetime.fromisoformat(f"{match['date']}T{match['time']}{fraction}{offset}")
        return (moment if offset else moment.replace(tzinfo=timezone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("there is no such date and time") from None


def period(start: datetime | None, end: datetime | None, now: datetime, timezone: ZoneInfo) -> Period:
    """What two optional ends mean. One alone reaches to the end, or from the start, of today or of its own day,
    whichever is further; ends the wrong way round are swapped. Raises Invalid beyond 31 days, or the calendar.
    """
    _check(start, end)
    if start is None and end is None:
        return _day_of(now, timezone)
    if start is None:
        assert end is not None
        start = _day_of(end, timezone).start
    if end is None:
        end = max(_day_of(start, timezone).end, _day_of(now, timezone).end)
    first, last = sorted((start, end))
    if last - first > MAX_PERIOD and _on_the_wall(last, timezone) - _on_the_wall(first, timezone) > MAX_PERIOD:
        raise Invalid(TOO_LONG)
    return Period(first, last)


def between(start: datetime, end: datetime) -> Period:
    """The period of any length between two moments, in either order. Raises Invalid beyond the calendar."""
    _check(start, end)
    return Period(*sorted((start, end)))


def _check(*moments: datetime | None) -> None:
    if not all(moment is None or _FIRST <= moment <= _LAST for moment in moments):
        raise Invalid(BEYOND)


def _on_the_wall(moment: datetime, timezone: ZoneInfo) -> datetime:
    """What a clock in the zone shows: 31 days there may be an hour more in which the clocks are set back."""
    return moment.astimezone(timezone).replace(tzinfo=None)


def _day_of(moment: datetime, timezone: ZoneInfo) -> Period:
    try:
        date = moment.astimezone(timezone).date()
        first = datetime.combine(date, time(), timezone)
        after = datetime.combine(date + _DAY, time(), timezone)
        return Period(first.astimezone(UTC), after.astimezone(UTC) - _TICK)
    except OverflowError:
        raise Invalid(BEYOND) from None
