"""A client of the API, as an integrator would write one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from typing import Any

from flask import Flask
from sqlalchemy import Engine, insert

from service import clock
from service.access.keys import create_key
from service.access.scopes import ALL_SCOPES, Scope
from service.calls.partitions import ensure_month
from service.customers.create import NewCustomer, create_customer
from service.db.transaction import transaction
from service.ledger.command import Caller
from service.models import CallRecord

_numbers = count(1)


@dataclass
class Answer:
    """What came back. `json` keeps every number exact."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body, parse_float=Decimal)

    @property
    def error(self) -> str:
        assert list(self.json) == ["error"], self.json
        return self.json["error"]


@dataclass
class ApiClient:
    """Calls the app in this process with a token of one client."""

    app: Flask
    client_id: uuid.UUID
    key: str
    headers: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, **options: Any) -> Answer:
        return self.call("GET", path, **options)

    def put(self, path: str, body: Any = None, **options: Any) -> Answer:
        return self.call("PUT", path, body, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        return self.call("POST", path, body, **options)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
        content_type: str | None = "application/json",
    ) -> Answer:
        data = raw if raw is not None else json.dumps(body, default=_exact).encode() if body is not None else None
        response = self.app.test_client().open(
            path,
            method=method,
            data=data,
            content_type=content_type if data is not None else None,
            headers={**self.headers, **(headers or {})},
        )
        return Answer(response.status_code, response.headers, response.data)

    def sign_in(self) -> ApiClient:
        token = self.post("/v1/auth/token", {"api_key": self.key}).json["data"]["token"]
        self.headers["Authorization"] = f"Bearer {token}"
        return self


def api_client(app: Flask, engine: Engine, client_id: uuid.UUID, scopes: Iterable[Scope] = ALL_SCOPES) -> ApiClient:
    """A signed-in client with a new key."""
    return ApiClient(app, client_id, create_key(engine, client_id, list(scopes))[1]).sign_in()


def add_customer(engine: Engine, client_id: uuid.UUID, **fields: Any) -> int:
    """A customer with names of its own, unless given."""
    number = next(_numbers)
    defaults = {"username": f"user{number}x", "useralias": f"alias{number}x"}
    with transaction(engine) as tx:
        return create_customer(tx, Caller(client_id, "test"), NewCustomer(**{**defaults, **fields})).customer_id


def add_call(engine: Engine, client_id: uuid.UUID, **fields: Any) -> None:
    """A call of just now, unless given."""
    now = clock.now()
    defaults = {"start_time": now, "end_time": now, "duration": 0, "amount": 1, "source": "0899", "destination": "113"}
    with transaction(engine) as tx:
        row = {"client_id": client_id, "uniqueid": f"{next(_numbers)}.1", **defaults, **fields}
        ensure_month(tx, row["start_time"])
        tx.execute(insert(CallRecord).values(**row))


def _exact(value: Any) -> Any:
    raise TypeError(f"spell {value!r} out as raw JSON")
