"""Answers about events, as examples for the document."""

from __future__ import annotations

from typing import Any

EVENT: dict[str, Any] = {
    "event_id": "evt_1_42",
    "customer_id": 1,
    "seq": 42,
    "kind": "credit.added",
    "amount": 10,
    "delta": 10,
    "balance_before": 15.5,
    "balance_after": 25.5,
    "held": 0,
    "creditlimit": None,
    "status": 1,
    "reason": "nạp tiền",
    "reference": "VCB-4711",
    "refers_to": None,
    "detail": None,
    "actor": "key:7",
    "request_id": "0b9f6a1c5d",
    "idempotency_key": None,
    "recorded_at": "2021-07-20T12:00:54.123456Z",
}
STATEMENT: dict[str, Any] = {"data": [EVENT], "next": "c3RhdGVtZW50OjQy"}
FEED: dict[str, Any] = {"data": [{**EVENT, "cursor": "ZmVlZDo3NzE6MTo0Mg"}], "next": None}
CHANGE_LOG: dict[str, Any] = {
    "data": [
        {
            "event_id": "evt_1_42",
            "customer_id": 1,
            "seq": 42,
            "kind": "credit.added",
            "credit_before": 15.5,
            "credit_after": 25.5,
            "status_before": 1,
            "status_after": 1,
            "actor": "key:7",
            "reason": "nạp tiền",
            "reference": "VCB-4711",
            "recorded_at": "2021-07-20T12:00:54.123456Z",
            "applied_at": "2021-07-20T12:00:54.131072Z",
        }
    ],
    "next": None,
}
BALANCE: dict[str, Any] = {
    "id": "1",
    "credit": 25.5,
    "held": 5,
    "creditlimit": None,
    "available": 20.5,
    "credit_notification": 10,
    "status": 1,
    "seq": 42,
    "at": "2021-07-20T12:00:54.123456Z",
}
