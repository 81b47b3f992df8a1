"""An endpoint's health in Postgres: the breaker moved by a batch of outcomes, and the end of an endpoint's patience.

Part of the transaction that records the batch. The rows are locked in the order of their keys, so two dispatchers that
record at once can't lock them crosswise; a healthy endpoint that answered well is not even locked. What was asked of
another URL, or before the endpoint was enabled again, says nothing of it and is left out.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import reduce
from http import HTTPStatus
from typing import Any

import structlog
from sqlalchemy import Connection, Row, text

from service.webhooks.allot import Address
from service.webhooks.announce import Disabled, announce
from service.webhooks.breaker import Health, Showing, after
from service.webhooks.verdict import CutShort, Delivered, Failure, Permanent, Retryable, Verdict

GONE = "gone"
DAY = 86_400.0  # seconds
_ASKS_FOR_A_PAUSE = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that has ended; `url` is the one that was asked, and `began` when, by the database's clock."""

    address: Address
    url: str = field(repr=False)
    began: datetime
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class _Change:
    address: Address
    health: Health
    reason: str | None  # why it is disabled, if it is


def note(tx: Connection, attempts: Iterable[Ended], disable_after: float) -> None:
    """Move the breakers of the endpoints that a batch was sent to, and disable those that are given up.

    `disable_after`: seconds of nothing but failures.
    """
    by_endpoint = _by_endpoint(attempts)
    if not by_endpoint:
        return
    rows = tx.execute(_LOCK, _keys(by_endpoint) | {"well": [_did_well(shown(s)) for s in by_endpoint.values()]}).all()
    current = [(row, _current(row, by_endpoint[Address(row.client_id, row.id)])) for row in rows]
    changes = [_change(row, shown(attempts), disable_after) for row, attempts in current if attempts]
    if changes:
        _write(tx, changes)
    if any(change.reason for change in changes):
        _tell(tx, rows, changes)


def _by_endpoint(attempts: Iterable[Ended]) -> dict[Address, list[Ended]]:
    """What is our own fault (a restart, a bug) is held against nobody."""
    by_endpoint: dict[Address, list[Ended]] = defaultdict(list)
    for ended in attempts:
        if not isinstance(ended.verdict, CutShort) and ended.verdict.error != Failure.INTERNAL:
            by_endpoint[ended.address].append(ended)
    return by_endpoint


def _current(row: Row[Any], attempts: Iterable[Ended]) -> list[Ended]:
    return [ended for ended in attempts if ended.url == row.url and ended.began >= row.changed_at]


def shown(attempts: Iterable[Ended]) -> Showing:
    """What attempts at one endpoint have shown."""
    return reduce(_seen, (ended.verdict for ended in attempts), Showing())


def _did_well(showing: Showing) -> bool:
    return showing.delivered and not showing.gone and showing.wait is None


def _seen(showing: Showing, verdict: Verdict) -> Showing:
    match verdict:
        case Delivered():
            return replace(showing, delivered=True)
        case Permanent():
            return replace(showing, failed=showing.failed + 1, gone=True)
        case Retryable(wait=float(wait)) if verdict.status_code in _ASKS_FOR_A_PAUSE:
            return replace(showing, failed=showing.failed + 1, wait=max(wait, showing.wait or 0.0))
        case _:
            return replace(showing, failed=showing.failed + 1)


def _change(row: Row[Any], showing: Showing, disable_after: float) -> _Change:
    before = Health(row.failures, row.failing_since, row.open_until, row.last_failed_at)
    health = after(before, showing, row.now, random.random())  # noqa: S311  jitter
    reason = GONE if showing.gone else _out_of_patience(health, row.now, disable_after)
    return _Change(Address(row.client_id, row.id), health, reason)


def _out_of_patience(health: Health, now: datetime, disable_after: float) -> str | None:
    if health.failing_since is None or now - health.failing_since < timedelta(seconds=disable_after):
        return None
    days = disable_after / DAY
    return f"failing for {days:g} day{'' if days == 1 else 's'}"


def _write(tx: Connection, changes: Sequence[_Change]) -> None:
    tx.execute(
        _WRITE,
        {
            "clients": [change.address.client_id for change in changes],
            "endpoints": [change.address.endpoint_id for change in changes],
            "failures": [change.health.failures for change in changes],
            "since": [change.health.failing_since for change in changes],
            "until": [change.health.open_until for change in changes],
            "last": [change.health.last_failed_at for change in changes],
            "reasons": [change.reason for change in changes],
        },
    )


def _tell(tx: Connection, rows: Sequence[Row[Any]], changes: Sequence[_Change]) -> None:
    urls = {row.id: row.url for row in rows}
    for change in changes:
        if change.reason:
            client_id, endpoint_id = change.address.client_id, change.address.endpoint_id
            told = announce(tx, client_id, Disabled(endpoint_id, urls[endpoint_id], change.reason))
            log.warning(
                "webhook endpoint disabled",
                client_id=str(client_id),
                endpoint_id=str(endpoint_id),
                reason=change.reason,
                told=told,
            )


def _keys(addresses: Collection[Address]) -> dict[str, list[Any]]:
    return {
        "clients": [address.client_id for address in addresses],
        "endpoints": [address.endpoint_id for address in addresses],
    }


_LOCK = text("""
    SELECT e.client_id, e.id, e.url, e.changed_at, e.failures, e.failing_since, e.open_until, e.last_failed_at,
           clock_timestamp() AS now
    FROM unnest(CAST(:clients AS uuid[]), CAST(:endpoints AS uuid[]), CAST(:well AS bool[]))
         AS shown (client_id, id, well)
    JOIN webhook_endpoint e ON e.client_id = shown.client_id AND e.id = shown.id
    WHERE e.disabled_at IS NULL AND e.deleted_at IS NULL
      AND NOT (shown.well AND e.failures = 0 AND e.open_until IS NULL)
    ORDER BY e.client_id, e.id FOR NO KEY UPDATE OF e
""")
_WRITE = text("""
    UPDATE webhook_endpoint e
    SET failures = c.failures, failing_since = c.since, open_until = c.until, last_failed_at = c.last,
        disabled_at = CASE WHEN c.reason IS NOT NULL THEN now() END, disabled_reason = c.reason
    FROM unnest(CAST(:clients AS uuid[]), CAST(:endpoints AS uuid[]), CAST(:failures AS int[]),
                CAST(:since AS timestamptz[]), CAST(:until AS timestamptz[]), CAST(:last AS timestamptz[]),
                CAST(:reasons AS text[])) AS c (client_id, id, failures, since, until, last, reason)
    WHERE e.client_id = c.client_id AND e.id = c.id
""")
