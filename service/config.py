"""The settings of a process, read once from the environment and frozen.

The only reader of `os.environ`. Every variable is listed with its default in `docs/operations.md`; none that protects
something has a default.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from environs import Env, EnvError
from limits import parse
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from service.errors import Misconfigured

SECRET_KEY_MIN_BYTES = 32  # HS256 wants a key as long as its hash (RFC 7518 §3.2)
DAY = 86_400
IDEMPOTENCY_DAYS = 30  # what a caller may count on; an operator can only keep keys for longer
WEBHOOK_TIMEOUT_MAX = 20  # a dispatcher must be done with its last sends before its job is timed out
LOG_FORMATS = ("json", "console")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Config:
    """What a process needs to know. Times are in seconds, sizes in bytes."""

    database_url: URL
    redis_url: str = field(repr=False)
    secret_key: str = field(repr=False)
    secret_key_previous: str | None = field(default=None, repr=False)
    encryption_key: str | None = field(default=None, repr=False)
    encryption_key_previous: str | None = field(default=None, repr=False)
    timezone: ZoneInfo = ZoneInfo("UTC")  # noqa: RUF009  zones are cached and immutable
    token_ttl: int = DAY
    token_rate_limit: str = "60 per minute"  # noqa: S105  a rate, not a secret
    rate_limit: str | None = None
    max_body_bytes: int = 1024 * 1024
    database_pool_size: int = 8
    database_prepared_statements: bool = True
    redis_tls_verify: bool = True
    trusted_proxies: int = 0
    metrics_token: str | None = field(default=None, repr=False)
    metrics_directory: str | None = None
    idempotency_days: int = 30
    checkpoint_key: str | None = field(default=None, repr=False)
    checkpoint_key_previous: str | None = field(default=None, repr=False)
    checkpoint_every: int = 3600
    log_format: str = "json"
    log_level: str = "INFO"
    webhook_allow_networks: tuple[Network, ...] = ()
    webhook_timeout: float = 15.0
    webhook_endpoint_in_flight: int = 20
    webhook_in_flight: int = 200
    webhook_disable_after: int = 5 * DAY
    webhook_attempt_days: int = 30
    webhook_delivery_days: int = 90
    export_days: int = 7

    @classmethod
    def from_environ(cls) -> Config:
        """Read the environment. Raises Misconfigured with one sentence."""
        try:
            return _read(Env())
        except EnvError as error:
            raise Misconfigured(f"pbx-ledger: {error}") from None


def _read(env: Env) -> Config:
    return Config(
        database_url=_database_url(env.str("DATABASE_URL", "")),
        redis_url=_redis_url(env.str("REDIS_URL", "")),
        secret_key=_secret("SECRET_KEY", env.str("SECRET_KEY", "")),
        secret_key_previous=_optional_secret("SECRET_KEY_PREVIOUS", env.str("SECRET_KEY_PREVIOUS", "")),
        encryption_key=_optional_secret("ENCRYPTION_KEY", env.str("ENCRYPTION_KEY", "")),
        encryption_key_previous=_optional_secret("ENCRYPTION_KEY_PREVIOUS", env.str("ENCRYPTION_KEY_PREVIOUS", "")),
        timezone=_timezone(env.str("TIMEZONE", "UTC")),
        token_ttl=_positive("TOKEN_TTL", env.int("TOKEN_TTL", DAY)),
        token_rate_limit=_rate("TOKEN_RATE_LIMIT", env.str("TOKEN_RATE_LIMIT", "60 per minute")),
        rate_limit=_rate("RATE_LIMIT", env.str("RATE_LIMIT", "")) or None,
        max_body_bytes=_positive("MAX_BODY_BYTES", env.int("MAX_BODY_BYTES", 1024 * 1024)),
        database_pool_size=_at_least(2, "DATABASE_POOL_SIZE", env.int("DATABASE_POOL_SIZE", 8)),
        database_prepared_statements=env.bool("DATABASE_PREPARED_STATEMENTS", True),
        redis_tls_verify=env.bool("REDIS_TLS_VERIFY", True),
        trusted_proxies=_at_least(0, "TRUSTED_PROXIES", env.int("TRUSTED_PROXIES", 0)),
        metrics_token=env.str("METRICS_TOKEN", "") or None,
        metrics_directory=env.str("PROMETHEUS_MULTIPROC_DIR", "") or None,
        idempotency_days=_at_least(IDEMPOTENCY_DAYS, "IDEMPOTENCY_DAYS", env.int("IDEMPOTENCY_DAYS", IDEMPOTENCY_DAYS)),
        checkpoint_key=_optional_secret("CHECKPOINT_KEY", env.str("CHECKPOINT_KEY", "")),
        checkpoint_key_previous=_optional_secret("CHECKPOINT_KEY_PREVIOUS", env.str("CHECKPOINT_KEY_PREVIOUS", "")),
        checkpoint_every=_positive("CHECKPOINT_EVERY", env.int("CHECKPOINT_EVERY", 3600)),
        log_format=_one_of(LOG_FORMATS, "LOG_FORMAT", env.str("LOG_FORMAT", "json")),
        log_level=_one_of(LOG_LEVELS, "LOG_LEVEL", env.str("LOG_LEVEL", "INFO").upper()),
        webhook_allow_networks=_networks(env.list("WEBHOOK_ALLOW_NETWORKS", [])),
        webhook_timeout=_webhook_timeout(env.float("WEBHOOK_TIMEOUT", 15.0)),
        webhook_endpoint_in_flight=_positive("WEBHOOK_ENDPOINT_IN_FLIGHT", env.int("WEBHOOK_ENDPOINT_IN_FLIGHT", 20)),
        webhook_in_flight=_positive("WEBHOOK_IN_FLIGHT", env.int("WEBHOOK_IN_FLIGHT", 200)),
        webhook_disable_after=_positive("WEBHOOK_DISABLE_AFTER", env.int("WEBHOOK_DISABLE_AFTER", 5 * DAY)),
        webhook_attempt_days=_positive("WEBHOOK_ATTEMPT_DAYS", env.int("WEBHOOK_ATTEMPT_DAYS", 30)),
        webhook_delivery_days=_positive("WEBHOOK_DELIVERY_DAYS", env.int("WEBHOOK_DELIVERY_DAYS", 90)),
        export_days=_positive("EXPORT_DAYS", env.int("EXPORT_DAYS", 7)),
    )


def _database_url(text: str) -> URL:
    if not text:
        raise EnvError("DATABASE_URL is not set; it names the PostgreSQL database, as in postgres://user@host/name")
    try:
        url = make_url(text)
    except ArgumentError:
        raise EnvError("DATABASE_URL cannot be read as a database address") from None
    if url.drivername not in {"postgres", "postgresql", "postgresql+psycopg"} or not url.database:
        raise EnvError("DATABASE_URL must name a PostgreSQL database, as in postgres://user@host/name")
    return url.set(drivername="postgresql+psycopg")


def _redis_url(text: str) -> str:
    if not text.startswith(("redis://", "rediss://", "unix://")):
        raise EnvError("REDIS_URL must be set to a Redis address, as in redis://host:6379/0")
    return text


def _secret(name: str, text: str) -> str:
    if len(text.encode()) < SECRET_KEY_MIN_BYTES:
        state = "too short" if text else "not set"
        raise EnvError(f"{name} is {state}; it must be at least {SECRET_KEY_MIN_BYTES} random bytes")
    return text


def _optional_secret(name: str, text: str) -> str | None:
    return _secret(name, text) if text else None


def _timezone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise EnvError(f"TIMEZONE '{name}' is not a time zone name, such as Asia/Ho_Chi_Minh") from None


def _positive(name: str, value: int) -> int:
    return _at_least(1, name, value)


def _at_least(least: int, name: str, value: int) -> int:
    if value < least:
        raise EnvError(f"{name} must be at least {least}")
    return value


def _one_of(allowed: tuple[str, ...], name: str, text: str) -> str:
    if text not in allowed:
        raise EnvError(f"{name} must be one of {', '.join(allowed)}")
    return text


def _webhook_timeout(seconds: float) -> float:
    if not 1 <= seconds <= WEBHOOK_TIMEOUT_MAX:
        raise EnvError(f"WEBHOOK_TIMEOUT must be from 1 to {WEBHOOK_TIMEOUT_MAX} seconds")
    return seconds


def _rate(name: str, text: str) -> str:
    try:
        return text and str(parse(text)) and text
    except ValueError:
        raise EnvError(f"{name} is not a rate, such as '60 per minute'") from None


def _networks(texts: list[str]) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(text.strip()) for text in texts)
    except ValueError as error:
        raise EnvError(f"WEBHOOK_ALLOW_NETWORKS: {error}") from None
