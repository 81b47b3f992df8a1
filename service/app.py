"""Builds the Flask app: services first, then the parts of the API in the order in which a request passes them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import BoundedSemaphore
from typing import Any

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from service import logs
from service.access.keys import find_key_by_id
from service.access.tokens import Signer, Tokens
from service.api import (
    auth,
    bulk,
    call,
    call_export,
    call_intake,
    caller_id,
    context,
    credit,
    customer,
    docs,
    errors,
    event,
    health,
    hold,
    parsing,
    request_log,
    reversal,
    statement,
    webhook,
    webhook_delivery,
)
from service.api.exact_json import ExactJSONProvider
from service.api.limits import RateLimits
from service.cli import register_commands
from service.config import Config
from service.db.engine import make_engine
from service.doorbell import BackgroundDoorbell, Doorbell, connect
from service.ledger.group_commit import GroupCommit
from service.tally import Tally
from service.webhooks.vault import vault_of


class App(Flask):
    """A Flask whose JSON is exact and whose views are all ordinary functions."""

    json_provider_class = ExactJSONProvider

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function as it is: asking at every layer of every request whether it is a coroutine adds up."""
        return func


def create_app(config: Config | None = None) -> Flask:
    """The whole web application. Raises Misconfigured when the environment will not do."""
    config = config or Config.from_environ()
    logs.configure(config)
    app = App("pbx-ledger", static_folder=None)
    app.url_map.merge_slashes = False
    context.provide(app, _services(config))
    errors.register(app)
    request_log.register(app)
    parsing.register(app, config.max_body_bytes)
    _register_routes(app)
    register_commands(app)
    if config.trusted_proxies:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=config.trusted_proxies, x_proto=config.trusted_proxies
        )
    return app


def _services(config: Config) -> context.Services:
    engine = make_engine(config)
    redis = connect(config)
    signer = Signer(config.secret_key, config.secret_key_previous)
    doorbell = Doorbell(redis)
    return context.Services(
        config=config,
        engine=engine,
        ledger=GroupCommit(engine),
        signer=signer,
        tokens=Tokens(signer, partial(find_key_by_id, engine)),
        doorbell=doorbell,
        bell=BackgroundDoorbell(doorbell),
        tally=Tally(redis),
        limits=RateLimits(config),
        vault=vault_of(config),
        second_connections=BoundedSemaphore(config.database_pool_size // 2),
    )


def _register_routes(app: Flask) -> None:
    app.register_blueprint(health.blueprint)
    api = docs.make_api(app)
    for resource in (
        auth,
        customer,
        credit,
        hold,
        statement,
        event,
        reversal,
        bulk,
        caller_id,
        call,
        call_intake,
        call_export,
        webhook,
        webhook_delivery,
    ):
        api.register_blueprint(resource.blueprint)
    docs.serve(app, api)
