"""A call as a row of a spreadsheet: everything that is known of it, the same in every list and export."""

from __future__ import annotations

from service.calls.read import CallView
from service.clock import rfc3339
from service.sheet import Value

COLUMNS = (
    "id", "uniqueid", "leg", "start_time", "end_time", "duration", "source", "destination", "disposition", "amount",
    "customer_id", "event_id",
)  # fmt: skip


def row_of(call: CallView) -> dict[str, Value]:
    """A call by COLUMNS, in their order. `duration` in seconds, `amount` in credit units."""
    return {
        "id": call.id,
        "uniqueid": call.uniqueid,
        "leg": call.leg,
        "start_time": rfc3339(call.start_time),
        "end_time": rfc3339(call.end_time),
        "duration": call.duration,
        "source": call.source,
        "destination": call.destination,
        "disposition": call.disposition,
        "amount": call.amount,
        "customer_id": call.customer_id,
        "event_id": call.event_id,
    }
