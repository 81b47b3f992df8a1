"""What a `Retry-After` header asks for (RFC 9110, 10.2.3): seconds, or a date. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

SHORTEST, LONGEST = 1.0, 3600.0  # seconds: no hammering at somebody's wish, and no silence for a year
_SECONDS = re.compile(r"[0-9]{1,18}", re.ASCII)


def seconds_to_wait(header: str | None, now: datetime) -> float | None:
    """Seconds that an answer asks to be left alone, from SHORTEST to LONGEST; None where it asks nothing readable.

    >>> seconds_to_wait("120", datetime.now(UTC)), seconds_to_wait("0", datetime.now(UTC))
    (120.0, 1.0)
    """
    asked = _asked(header.strip(), now) if header else None
    return None if asked is None else min(LONGEST, max(SHORTEST, asked))


def _asked(header: str, now: datetime) -> float | None:
    if _SECONDS.fullmatch(header):
        return float(header)
    try:
        return (_date(header) - now).total_seconds()
    except (ValueError, OverflowError):  # OverflowError: a zone, or a date with its zone, beyond what a clock can show
        return None


def _date(header: str) -> datetime:
    date = parsedate_to_datetime(header)
    return date if date.tzinfo else date.replace(tzinfo=UTC)  # '-0000', which is UTC by another name
