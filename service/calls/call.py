"""One leg of a call as somebody brings it, and what became of it."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from service.clock import rfc3339
from service.ledger.command import Appended
from service.ledger.event import event_id
from service.money import as_json

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
