"""How many requests one dispatcher keeps under way to an endpoint: few to a stranger, more with every success.

With the whole cap from the start, a dozen dead endpoints would take every slot before anybody knows that they are dead.
So an endpoint begins with a few slots, gains one with each delivery (which doubles them in each round, as TCP does) and
loses half when it did not answer at all, or said that we are too many. Any other answer that says no is still an
answer: it holds no slot for long.
"""

from __future__ import annotations

from http import HTTPStatus

from service.webhooks.allot import Address
from service.webhooks.verdict import Delivered, Verdict

# What servers and the proxies before them answer when it is too much for them.
TOO_MUCH = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT}
STRANGER = 4  # requests at once to an endpoint that has not answered yet


class Pace:
    """What the endpoints have shown so far. Lives as long as one dispatcher; `cap` is the most for any endpoint."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._windows: dict[Address, int] = {}

    def window(self, address: Address) -> int:
        """How many requests to this endpoint may be under way at once."""
        return self._windows.get(address, min(STRANGER, self._cap))

    def ended(self, address: Address, verdict: Verdict) -> None:
        """Take note of how a request ended."""
        window = self.window(address)
        if isinstance(verdict, Delivered):
            self._windows[address] = min(self._cap, window + 1)
        elif verdict.status_code is None or verdict.status_code in TOO_MUCH:
            self._windows[address] = max(1, window // 2)
