"""What the document shows of calls that come in, and of what they come to."""

from __future__ import annotations

from typing import Any

NEW: dict[str, Any] = {
    "uniqueid": "1622815952.3252",
    "source": "0899123456",
    "destination": "0123456789",
    "start_time": "2021-06-04T21:12:59Z",
    "duration": 38,
    "amount": 285,
    "disposition": "ANSWERED",
}
STORED: dict[str, Any] = {
    "id": 42,
    "uniqueid": "1622815952.3252",
    "leg": 0,
    "customer_id": "1",
    "event_id": "evt_1_42",
    "duplicate": False,
}
OUTCOMES: dict[str, Any] = {
    "data": [{"status": 200, **STORED}, {"status": 400, "error": "amount: is required"}],
    "stored": 1,
    "duplicates": 0,
    "unmatched": 0,
    "failed": 1,
}
REMATCHED: dict[str, Any] = {"charged": 3, "failed": 0, "more": False}
SUMMARY: dict[str, Any] = {
    "data": [{"day": "2021-06-01", "calls": 14, "seconds": 1692, "amount": 12725}],
    "limit": 10,
    "offset": 0,
    "total": 2,
    "sum": {"calls": 15, "seconds": 1730, "amount": 13010},
}
