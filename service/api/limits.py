"""How often one may ask.

The counters live in Redis, so that all processes count together. While Redis is away each process counts for itself:
nobody is turned away for Redis's sake, and nobody waits for it more than once in a few seconds.
"""

from __future__ import annotations

import hashlib
import time
from typing import Any

from flask import request
from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage, Storage
from limits.strategies import FixedWindowRateLimiter, RateLimiter
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.config import Config
from service.errors import TooManyRequests

REDIS_TIMEOUT = 0.25  # seconds
AWAY = 5.0  # seconds for which a Redis that did not answer is not asked again


class RateLimits:
    """Counts requests against the configured limits."""

    def __init__(self, config: Config) -> None:
        self._token_limit = parse(config.token_rate_limit)
        self._limit = parse(config.rate_limit) if config.rate_limit else None
        self._shared: RateLimiter = FixedWindowRateLimiter(_redis(config))
        self._own: RateLimiter = FixedWindowRateLimiter(MemoryStorage())
        self._ask_redis_from = 0.0

    def count_token_request(self) -> None:
        """One try of an API key, counted against the address that it comes from. Raises TooManyRequests."""
        self._count(self._token_limit, "token", request.remote_addr or "unknown")

    def count_request(self) -> None:
        """One request, counted against the token that it carries (never kept in clear). Raises TooManyRequests."""
        if self._limit is not None:
            token = request.headers.get("Authorization", request.remote_addr or "unknown")
            self._count(self._limit, "request", hashlib.sha256(token.encode()).hexdigest()[:32])

    def _count(self, limit: RateLimitItem, *who: str) -> None:
        now = time.monotonic()
        limiter = self._shared if now >= self._ask_redis_from else self._own
        try:
            allowed = limiter.hit(limit, *who)
        except StorageError:
            self._ask_redis_from = now + AWAY
            limiter = self._own
            allowed = limiter.hit(limit, *who)
        if not allowed:
            reset = limiter.get_window_stats(limit, *who).reset_time
            raise TooManyRequests(retry_after=max(1, round(reset - time.time())))


def _redis(config: Config) -> Storage:
    options: dict[str, Any] = {
        "socket_connect_timeout": REDIS_TIMEOUT,
        "socket_timeout": REDIS_TIMEOUT,
        "retry": Retry(NoBackoff(), 0),
    }
    if config.redis_url.startswith("rediss") and not config.redis_tls_verify:
        options["ssl_cert_reqs"] = None
    return RedisStorage(config.redis_url, key_prefix="limits", wrap_exceptions=True, **options)
