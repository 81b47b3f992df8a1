"""One line and one measurement for each request, and the id that ties its traces together."""

from __future__ import annotations

import random
import re
import time

import structlog
from flask import Flask, Response, g, request
from prometheus_client import Histogram

REQUEST_SECONDS = Histogram(
    "pbx_request_seconds",
    "Seconds that a request took, by route and status",
    ["method", "route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,64}")
_METHODS = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"}
_QUIET = {"/healthz", "/readyz", "/metrics"}  # asked every few seconds by machines

log = structlog.get_logger()


def register(app: Flask) -> None:
    """Number, time and log every request of an app."""
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    g.began = time.perf_counter()
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if _SANE_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"  # unique, no secret


def _end(response: Response) -> Response:
    seconds = time.perf_counter() - g.began
    response.headers["X-Request-Id"] = g.request_id
    route = request.url_rule.rule if request.url_rule else "unknown"
    method = request.method if request.method in _METHODS else "other"  # else anybody could invent label values
    REQUEST_SECONDS.labels(method, route, response.status_code).observe(seconds)
    if route not in _QUIET:
        log.info(
            "request",
            request_id=g.request_id,
            client=_client(),
            method=method,
            route=route,
            status=response.status_code,
            ms=round(seconds * 1000, 1),
        )
    return response


def _client() -> str | None:
    holder = g.get("holder")
    return None if holder is None else str(holder.client_id)
