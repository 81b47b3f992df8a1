"""When a delivery that failed is tried again: the schedule of Standard Webhooks, with jitter.

Jitter spreads the retries of a batch that failed together, so that a subscriber that comes back is not met by all of
them in the same second.
"""

from __future__ import annotations

MINUTE = 60
HOUR = 60 * MINUTE

# Seconds before each attempt, counted from the end of the one before.
DELAYS = (
    0,
    5,
    5 * MINUTE,
    30 * MINUTE,
    2 * HOUR,
    5 * HOUR,
    10 * HOUR,
    14 * HOUR,
    20 * HOUR,
    24 * HOUR,
)
MAX_ATTEMPTS = len(DELAYS)
JITTER = 0.2
LONGEST_WAIT = max(DELAYS) * (1 + JITTER)


def delay(attempts: int, draw: float) -> float | None:
    """Seconds until the next attempt, after `attempts` of them failed; None when there is none left.

    `draw` is a random number from 0 to 1.

    >>> delay(1, 0.0), delay(1, 0.5), delay(1, 1.0), delay(10, 0.5)
    (4.0, 5.0, 6.0, None)
    """
    if attempts >= MAX_ATTEMPTS:
        return None
    return DELAYS[attempts] * (1 - JITTER + 2 * JITTER * draw)
