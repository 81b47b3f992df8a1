"""How often one may ask. The counters live in Redis; without it, each process counts for itself."""

from __future__ import annotations

import hashlib

from flask import Flask, request
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

from service.api.context import services
from service.config import Config

REDIS_TIMEOUT = 0.25


def _asker() -> str:
    """Whom a request counts for: the token that it carries (never in clear), else the address that it comes from."""
    token = request.headers.get("Authorization")
    return hashlib.sha256(token.encode()).hexdigest()[:32] if token else get_remote_address()


def token_rate() -> str:
    """How often an address may try API keys."""
    return services().config.token_rate_limit


limiter = Limiter(_asker, in_memory_fallback_enabled=True, key_prefix="pbx")


def register(app: Flask, config: Config) -> None:
    """Count in Redis, fall back to memory. RATE_LIMIT, if set, is what each token may ask in all."""
    tls = {} if config.redis_tls_verify or not config.redis_url.startswith("rediss") else {"ssl_cert_reqs": None}
    app.config["RATELIMIT_STORAGE_URI"] = config.redis_url
    app.config["RATELIMIT_STORAGE_OPTIONS"] = {
        "socket_connect_timeout": REDIS_TIMEOUT,
        "socket_timeout": REDIS_TIMEOUT,
        **tls,
    }
    app.config["RATELIMIT_HEADERS_ENABLED"] = True
    if config.rate_limit:
        app.config["RATELIMIT_DEFAULT"] = config.rate_limit
    limiter.init_app(app)
