"""One leg of a call as somebody brings it, and what became of it."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from service.clock import rfc3339
from service.errors import Invalid
from service.ledger.command import Appended
from service.ledger.event import event_id
from service.money import as_json

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)  # before there was a PBX of this kind: a clock that was never set
AHEAD = timedelta(days=1)  # what clocks and time zones that somebody got wrong differ by
LONGEST = timedelta(days=31)
LONGEST_SECONDS = 31 * 86_400
UNIQUEID_LENGTH = 150  # Asterisk's own limit
NUMBER_LENGTH = 100
DISPOSITION_LENGTH = 40
REF_LENGTH = 120
MAX_LEG = 2**31 - 1

Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class NewCall:
    """A leg of a call, known by `uniqueid` and `leg`. `duration` in seconds, `amount` (0 or more) in credit units.

    `customer` says whose it is: an id, a username or a caller id. Where it is None, it is the customer's who has
    `source` among its caller ids.
    """

    uniqueid: str
    source: str
    destination: str
    start_time: datetime
    end_time: datetime
    duration: int
    amount: Decimal
    leg: int = 0
    disposition: str | None = None
    customer: str | None = None

    @property
    def key(self) -> Key:
        """What a client knows it by."""
        return self.uniqueid, self.leg

    @property
    def ref(self) -> str:
        """Whom it is charged to, in the terms of the ledger."""
        return f"caller_id:{self.source}" if self.customer is None else self.customer

    def fingerprint(self) -> bytes:
        """SHA-256 of everything but the key: the same for a repeat, another for another call under the same key."""
        content = (
            self.source, self.destination, rfc3339(self.start_time), rfc3339(self.end_time), self.duration,
            as_json(self.amount), self.disposition, self.customer,
        )  # fmt: skip
        return hashlib.sha256(json.dumps(content).encode()).digest()

    def command_id(self, client_id: uuid.UUID) -> uuid.UUID:
        """The id of the command that charges it: the same whoever brings it, however often."""
        return uuid.uuid5(client_id, f"call {self.leg} {self.uniqueid}")

    def told(self) -> dict[str, object]:
        """What the event that charges it tells of it."""
        return {"uniqueid": self.uniqueid, "leg": self.leg, "start_time": rfc3339(self.start_time)}


@dataclass(frozen=True, slots=True)
class Stored:
    """A call that is in the records. `customer_id` None: nobody was found to charge it to. `duplicate`: it was there.

    `charged` is the event of this very request, where there is one.
    """

    call_id: int
    call: NewCall
    customer_id: int | None
    event_seq: int | None
    duplicate: bool = False
    charged: Appended | None = None

    @property
    def event_id(self) -> str | None:
        """The public name of the event that charged it."""
        if self.customer_id is None or self.event_seq is None:
            return None
        return event_id(self.customer_id, self.event_seq)


def new_call(
    *,
    uniqueid: str,
    source: str,
    destination: str,
    start_time: datetime,
    amount: Decimal,
    now: datetime,
    end_time: datetime | None = None,
    duration: int | None = None,
    leg: int = 0,
    disposition: str | None = None,
    customer: str | None = None,
) -> NewCall:
    """A call as its parts say it was; `end_time` or `duration` will do. Raises Invalid, naming the part."""
    if not EARLIEST <= start_time <= now + AHEAD:
        raise Invalid(f"start_time: must be from {EARLIEST.year} on, and not in the future")
    if end_time is None and duration is None:
        raise Invalid("duration: is required where there is no end_time")
    end = end_time if end_time is not None else start_time + timedelta(seconds=duration or 0)
    if end < start_time or end - start_time > LONGEST:
        raise Invalid("end_time: must not be before start_time, nor more than 31 days after it")
    seconds = duration if duration is not None else (end - start_time) // timedelta(seconds=1)
    return NewCall(
        uniqueid, source, destination, start_time, end, seconds, amount, leg, disposition or None, customer or None
    )
