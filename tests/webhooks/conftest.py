"""Fixtures: an empty queue, a subscriber, and a dispatcher that ends when there is nothing left to do."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import Engine, text

from service.config import Config
from service.db.transaction import transaction
from service.webhooks import dispatch as dispatch_module
from service.webhooks.dispatch import Summary, dispatch
from tests.webhooks.queue import Queue
from tests.webhooks.subscriber import Subscriber


@pytest.fixture
def queue(engine: Engine, client_id: uuid.UUID) -> Queue:
    """The queue of a new client; a dispatcher knows no clients, so what other tests left is removed."""
    with transaction(engine) as tx:
        tx.execute(text("TRUNCATE webhook_attempt, webhook_delivery, webhook_endpoint"))
    return Queue(engine, client_id)


@pytest.fixture(autouse=True)
def no_lingering(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dispatcher of a test knows that nothing more will come."""
    monkeypatch.setattr(dispatch_module, "LINGER", 0.05)


@pytest.fixture
def subscriber() -> Iterator[Subscriber]:
    with Subscriber() as subscriber:
        yield subscriber


@pytest.fixture
def settings(config: Config) -> Config:
    """Loopback is allowed, and patience is short."""
    return replace(config, webhook_timeout=2.0)


@pytest.fixture
def send(engine: Engine, settings: Config) -> Callable[..., Summary]:
    """Dispatch until nothing is due any more."""
    return partial(dispatch, engine, settings, stop=lambda: False)
