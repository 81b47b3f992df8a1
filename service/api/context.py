"""What a request works with: the process's services, and who asks."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import cast

from flask import Flask, current_app, g
from sqlalchemy import Engine

from service.access.keys import KeyHolder
from service.access.tokens import Signer, Tokens
from service.api.limits import RateLimits
from service.config import Config
from service.doorbell import BackgroundDoorbell, Doorbell
from service.ledger.command import Caller
from service.ledger.group_commit import GroupCommit
from service.ledger.idempotency import KeyedRequest
from service.tally import Tally
from service.webhooks.vault import Vault

_NAME = "pbx-ledger"


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that lives as long as the process."""

    config: Config
    engine: Engine
    ledger: GroupCommit
    signer: Signer
    tokens: Tokens
    doorbell: Doorbell
    bell: BackgroundDoorbell
    tally: Tally
    limits: RateLimits
    vault: Vault
    second_connections: AbstractContextManager[bool]  # see service.api.bulk


def provide(app: Flask, services: Services) -> None:
    """Hang the services on the app."""
    app.extensions[_NAME] = services


def services() -> Services:
    """The services of the current app."""
    return cast(Services, current_app.extensions[_NAME])


def holder() -> KeyHolder:
    """The holder of the token that came with this request; the guard has put it there."""
    return cast(KeyHolder, g.holder)


def caller() -> Caller:
    """Who asks, as an event will remember it."""
    keyed: KeyedRequest | None = g.get("keyed")
    return Caller(holder().client_id, f"key:{holder().key_id}", g.request_id, None if keyed is None else keyed.key)
