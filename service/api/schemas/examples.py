"""The responses that the API reference prints, as examples for the document. A test holds the answers against them."""

from __future__ import annotations

from typing import Any

_FIRST: dict[str, Any] = {
    "id": 1,
    "creationdate": "2021-05-31T17:17:35Z",
    "firstusedate": "2021-05-31T20:08:56Z",
    "expirationdate": "2031-05-31T10:15:27Z",
    "enableexpire": 0,
    "expiredays": 0,
    "username": "0906237580",
    "useralias": "12345790644",
    "credit": 12343,
    "activated": "f",
    "status": 1,
    "lastuse": "2021-07-20T12:00:54Z",
    "creditlimit": None,
    "id_group": 2,
    "caller_ids": [{"cid": "0123456787", "activated": "t"}],
}
_SECOND: dict[str, Any] = {
    "id": 2,
    "creationdate": "2021-06-05T12:59:50Z",
    "firstusedate": "2021-06-05T13:01:58Z",
    "expirationdate": "2031-06-05T05:58:42Z",
    "enableexpire": 0,
    "expiredays": 0,
    "username": "1234567890",
    "useralias": "12345790645",
    "credit": 12345,
    "activated": "f",
    "status": 1,
    "lastuse": "2021-07-27T19:07:18Z",
    "creditlimit": None,
    "id_group": 2,
    "caller_ids": [{"cid": "0123456788", "activated": "t"}, {"cid": "0123456789", "activated": "t"}],
}

TOKEN: dict[str, Any] = {
    "data": {
        "client_id": "82ab1e65-aaeb-4ab7-bcd1-d8e4a8aae4ed",
        "expired_in": 15483776,
        "refresh_token": "",
        "token": "eyJhbGciOiJSU0EtT0FFUC0yNTYiLCJlbmMiOiJBMjU2R0NNIiwiaWF0IjoxNjEzNjMyNzc4fQ.dGhpcyBpcyB0ZXN0IGRhdGE=",
        "token_type": "Bearer",
        "user_id": "1",
    }
}
CUSTOMER = _FIRST
CUSTOMERS: dict[str, Any] = {"data": [_FIRST, _SECOND], "limit": 10, "offset": 0, "total": 50}
CHANGED: dict[str, Any] = {"id": "1", "message": "successfully"}
ADDED: dict[str, Any] = {"id": "1", "message": "successfully", "credit": 62}
LIMITED: dict[str, Any] = {"id": "1", "message": "successfully", "available": 162}
CREATED: dict[str, Any] = {
    "message": "successfully",
    "id": "51",
    "username": "0906237581",
    "cid": "0123456790",
    "status": 1,
}
CALLER_ID: dict[str, Any] = {"cid": "0123456790", "message": "successfully", "user_id": "1"}
HELD: dict[str, Any] = {
    "id": "hold_1_42",
    "message": "successfully",
    "customer_id": "1",
    "amount": 20,
    "available": 42,
    "expires_at": "2021-05-31T17:17:35Z",
}
HOLD: dict[str, Any] = {
    "id": "hold_1_42",
    "customer_id": "1",
    "amount": 20,
    "captured": 0,
    "status": "open",
    "expires_at": "2021-05-31T17:17:35Z",
}
CLOSED: dict[str, Any] = {
    "id": "hold_1_42",
    "message": "successfully",
    "customer_id": "1",
    "credit": 42,
    "available": 42,
}
REVERSED: dict[str, Any] = {
    "id": "1",
    "message": "successfully",
    "credit": 12,
    "event_id": "evt_1_43",
    "reverses": "evt_1_42",
}
BULK: dict[str, Any] = {
    "data": [
        {"status": 200, "id": "1", "message": "successfully", "credit": 62, "event_id": "evt_1_42"},
        {"status": 409, "error": "insufficient credit"},
    ],
    "succeeded": 1,
    "failed": 1,
}
CALLS: dict[str, Any] = {
    "data": [
        {
            "amount": 285,
            "destination": "0123456789",
            "duration": 38,
            "end_time": "2021-06-04T21:13:37Z",
            "id": 42,
            "source": "0899123456",
            "start_time": "2021-06-04T21:12:59Z",
            "uniqueid": "1622815952.3252",
        },
        {
            "amount": 1600,
            "destination": "0123456789",
            "duration": 120,
            "end_time": "2021-06-01T22:04:13Z",
            "id": 29,
            "source": "0899123456",
            "start_time": "2021-06-01T22:02:13Z",
            "uniqueid": "1622559713.3225",
        },
    ],
    "limit": 10,
    "offset": 0,
    "total": 15,
}
