"""When an endpoint that keeps failing is left alone, and for how long. Pure.

Closed, it gets what its pace allows. After OPENS_AT failures in a row it is open: nothing is sent, and what is owed
waits without using up its attempts. When the pause is over it is half open: one delivery goes out as a probe. Success
closes it; failure opens it for twice as long. So a dead endpoint costs one request every few minutes, however much it
is owed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from service.webhooks.schedule import HOUR, LONGEST_WAIT

OPENS_AT = 5  # failures in a row; the odd bad minute of a healthy endpoint has fewer
FIRST_PAUSE = 5.0  # seconds; as long as a delivery waits for its second attempt
LONGEST_PAUSE = 300.0  # seconds: how late an endpoint that has come back is noticed, at most
# Between two failures further apart than that, nothing was tried: they are not one outage. The hour is for a retry that
# is late, behind a pause, a Retry-After or a restart of ours.
LONGEST_GAP = timedelta(seconds=LONGEST_WAIT + HOUR)
JITTER = 0.1  # the endpoints of one dead host should not be probed in the same second


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of an endpoint: failures in a row, since when and when last, and until when nothing is sent."""

    failures: int = 0
    failing_since: datetime | None = None
    open_until: datetime | None = None
    last_failed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Showing:
    """What an endpoint has shown in a batch of outcomes. `wait`: seconds for which it asked to be left alone."""

    delivered: bool = False
    failed: int = 0
    gone: bool = False
    wait: float | None = None


def after(health: Health, showing: Showing, now: datetime, draw: float) -> Health:
    """What is known after a batch. `draw` is a random number from 0 to 1.

    What was under way when the breaker opened says nothing new: it neither lengthens the pause nor ends it.
    """
    open_until = health.open_until if health.open_until and health.open_until > now else None
    if showing.delivered:
        failures, since, last = 0, None, None
    else:
        outage = _outage(health, now)
        since, last = outage.failing_since or now, now
        failures = outage.failures if open_until else _counted(outage.failures, showing.failed)
        if open_until is None and failures >= OPENS_AT:
            open_until = now + timedelta(seconds=pause(failures, draw))
    if showing.wait is not None:
        asked = now + timedelta(seconds=showing.wait)
        open_until = max(open_until, asked) if open_until else asked
    return Health(failures, since, open_until, last)


def _outage(health: Health, now: datetime) -> Health:
    """What a failure adds to: nothing, where the one before was too long ago to have anything to do with it."""
    last = health.last_failed_at or health.failing_since  # None in rows that failed before it was noted
    return Health() if last and now - last > LONGEST_GAP else health


def _counted(before: int, failed: int) -> int:
    """Twenty that failed at once open the breaker as five do: only a probe that fails makes the pauses longer."""
    return before + min(failed, 1) if before >= OPENS_AT else min(OPENS_AT, before + failed)


def pause(failures: int, draw: float) -> float:
    """Seconds for which nothing is sent after so many failures in a row.

    >>> [pause(n, 0.5) for n in (5, 6, 7, 11, 500)]
    [5.0, 10.0, 20.0, 300.0, 300.0]
    """
    doubled = FIRST_PAUSE * 2.0 ** min(failures - OPENS_AT, 30)
    return min(LONGEST_PAUSE, doubled) * (1 - JITTER + 2 * JITTER * draw)
