"""Which leg a line of a file is, where the file does not say.

A file may hold several lines with one uniqueid, and be brought again, whole or in part, in another order. So a line is
known again by its content, not by its place: what is there already under its uniqueid is a repeat, whatever its leg,
and what is not becomes the next leg.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Connection, text

from service.calls.call import MAX_LEG, Key, NewCall
from service.errors import Conflict

TURN_TIMEOUT = "10s"  # how long a batch waits for that of another import of the same client

_Content = tuple[str, str, datetime, datetime, int, str | None]


@dataclass(slots=True)
class Legs:
    """What is there under one uniqueid: the next free leg, the fingerprints, and the legs by their content."""

    free: int = 0
    fingerprints: set[bytes] = field(default_factory=set)
    contents: dict[_Content, int] = field(default_factory=dict)

    def place(self, call: NewCall) -> NewCall | Conflict | None:
        """The call as the next leg; None for a repeat.

        Conflict for one that is there at another price or for another customer: it would be charged a second time.
        """
        fingerprint, content = call.fingerprint(), _content(call)
        if fingerprint in self.fingerprints:
            return None
        if content in self.contents:
            leg = self.contents[content]
            return Conflict(f"uniqueid '{call.uniqueid}', leg {leg}: is there already, at another amount or customer")
        if self.free > MAX_LEG:
            return Conflict(f"uniqueid '{call.uniqueid}': no leg is left")
        self.fingerprints.add(fingerprint)
        self.contents[content] = self.free
        self.free += 1
        return replace(call, leg=self.free - 1)


def take_turn(tx: Connection, client_id: uuid.UUID) -> None:
    """Let the imports of a client assign legs one batch at a time, until the transaction ends. Raises Unavailable.

    Two at once could give one line two different legs, and charge it twice.
    """
    tx.execute(_TIMEOUT, {"timeout": TURN_TIMEOUT})
    tx.execute(_TURN, {"client": client_id})


def known_legs(tx: Connection, client_id: uuid.UUID, calls: Sequence[NewCall]) -> dict[str, Legs]:
    """What is there of the uniqueids of some calls; of their contents only what began when one of the calls did."""
    legs = {call.uniqueid: Legs() for call in calls}
    for row in tx.execute(_FREE, {"client": client_id, "uniqueids": list(legs)}):
        legs[row.uniqueid].free = row.leg + 1
    asked = sorted({(call.uniqueid, call.start_time) for call in calls})
    columns = {"uniqueids": [uniqueid for uniqueid, _ in asked], "starts": [start for _, start in asked]}
    for row in tx.execute(_KNOWN, {"client": client_id, **columns}):
        known = legs[row.uniqueid]
        known.fingerprints.add(bytes(row.fingerprint))
        if row.source is not None:  # its month may have been dropped
            content = (row.source, row.destination, row.start_time, row.end_time, row.duration, row.disposition)
            known.contents[content] = row.leg
    return legs


def any_taken(tx: Connection, client_id: uuid.UUID, keys: Sequence[Key]) -> bool:
    """Whether one of some legs is there."""
    columns = {"uniqueids": [uniqueid for uniqueid, _ in keys], "legs": [leg for _, leg in keys]}
    return bool(tx.scalar(_TAKEN, {"client": client_id, **columns}))


def _content(call: NewCall) -> _Content:
    """What happened, without who pays how much."""
    return call.source, call.destination, call.start_time, call.end_time, call.duration, call.disposition


_TIMEOUT = text("SELECT set_config('lock_timeout', :timeout, true)")
_TURN = text(
    "SELECT pg_advisory_xact_lock(hashtextextended('calls from files', 0) # hashtextextended(CAST(:client AS text), 0))"
)
_FREE = text("""
    SELECT asked.uniqueid, l.leg
    FROM unnest(CAST(:uniqueids AS text[])) AS asked (uniqueid)
    CROSS JOIN LATERAL (
        SELECT max(l.leg) AS leg FROM call_leg l WHERE l.client_id = :client AND l.uniqueid = asked.uniqueid
    ) AS l
    WHERE l.leg IS NOT NULL
""")
_KNOWN = text("""
    SELECT l.uniqueid, l.leg, l.fingerprint, c.source, c.destination, l.start_time, c.end_time, c.duration,
           c.disposition
    FROM unnest(CAST(:uniqueids AS text[]), CAST(:starts AS timestamptz[])) AS asked (uniqueid, start_time)
    JOIN call_leg l ON l.client_id = :client AND l.uniqueid = asked.uniqueid AND l.start_time = asked.start_time
    LEFT JOIN call_record c ON c.client_id = l.client_id AND c.start_time = l.start_time AND c.id = l.call_id
""")
_TAKEN = text("""
    SELECT EXISTS (
        SELECT FROM unnest(CAST(:uniqueids AS text[]), CAST(:legs AS int[])) AS asked (uniqueid, leg)
        JOIN call_leg l ON l.client_id = :client AND l.uniqueid = asked.uniqueid AND l.leg = asked.leg
    )
""")
