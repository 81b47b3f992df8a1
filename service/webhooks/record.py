"""Outcomes back into Postgres, a batch in one transaction, and with them what they say of the endpoints' health.

Each counts only while its lease is still the sender's: a result that comes after the lease ran out and the delivery
was claimed anew changes nothing. Recording the same batch twice is therefore harmless, and so is not knowing whether
the first time went through.

A 410 that the endpoint's owner has answered meanwhile, with another URL or by enabling it again, ends no delivery.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, text

from service.db.transaction import transaction
from service.webhooks.claim import Claim
from service.webhooks.health import DAY, Ended, note
from service.webhooks.schedule import MAX_ATTEMPTS, delay
from service.webhooks.verdict import CutShort, Delivered, Permanent, Retryable, Verdict

DISABLE_AFTER = 5 * DAY


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a delivery. `outcome` is the attempt's, `after` the seconds until the next one, if any."""

    outcome: str
    status: str
    after: float | None = None
    priority: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished attempt."""

    claim: Claim
    verdict: Verdict
    milliseconds: int
    fate: Fate


def outcome(claim: Claim, verdict: Verdict, milliseconds: int) -> Outcome:
    """A finished attempt and what follows from it; the jitter of a retry is drawn here."""
    return Outcome(claim, verdict, milliseconds, fate(verdict, claim.tries, random.random()))  # noqa: S311  jitter


def fate(verdict: Verdict, attempts: int, draw: float) -> Fate:
    """What a verdict on the last of `attempts` of this round means for the delivery. Pure; `draw` is from 0 to 1."""
    match verdict:
        case Delivered():
            return Fate("delivered", "delivered")
        case Permanent():
            return Fate("failed", "failed")
        case CutShort():
            again = attempts < MAX_ATTEMPTS
            return Fate("abandoned", "pending", after=0.0, priority=0) if again else Fate("abandoned", "failed")
        case _:
            after = _not_before(verdict, delay(attempts, draw))
            return Fate("failed", "failed") if after is None else Fate("retry", "pending", after)


def _not_before(verdict: Retryable, after: float | None) -> float | None:
    """Not before the endpoint wants it, where it said when; but no attempt more than the schedule has."""
    return after if after is None or verdict.wait is None else max(after, verdict.wait)


def record(engine: Engine, outcomes: Sequence[Outcome], disable_after: float = DISABLE_AFTER) -> int:
    """Write outcomes down; how many still counted. Raises Unavailable, and may be called again with the same.

    `disable_after`: seconds of nothing but failures after which an endpoint is disabled.
    """
    with transaction(engine) as tx:
        settled = _without_outdated_ends(tx, outcomes)
        began = {row.delivery_id: row.started_at for row in tx.execute(_RECORD, _columns(settled))}
        counted = [
            Ended(o.claim.address, o.claim.url, began[o.claim.id], o.verdict) for o in settled if o.claim.id in began
        ]
        note(tx, counted, disable_after)
    return len(began)


def _without_outdated_ends(tx: Connection, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
    """With what is outdated to be tried again, where it would have ended its delivery."""
    ends = [o for o in outcomes if isinstance(o.verdict, Permanent)]
    if not ends:
        return outcomes
    outdated = set(tx.scalars(_OUTDATED, _attempts_of([o.claim for o in ends])))
    return [
        _retried(o, o.verdict) if isinstance(o.verdict, Permanent) and o.claim.id in outdated else o for o in outcomes
    ]


def _retried(ended: Outcome, verdict: Permanent) -> Outcome:
    return outcome(ended.claim, Retryable(verdict.error, verdict.status_code), ended.milliseconds)


def _attempts_of(claims: Sequence[Claim]) -> dict[str, list[Any]]:
    return {
        "clients": [claim.address.client_id for claim in claims],
        "endpoints": [claim.address.endpoint_id for claim in claims],
        "ids": [claim.id for claim in claims],
        "numbers": [claim.attempt for claim in claims],
        "urls": [claim.url for claim in claims],
    }


def _columns(outcomes: Sequence[Outcome]) -> dict[str, list[Any]]:
    return {
        "clients": [o.claim.address.client_id for o in outcomes],
        "ids": [o.claim.id for o in outcomes],
        "tokens": [o.claim.token for o in outcomes],
        "numbers": [o.claim.attempt for o in outcomes],
        "outcomes": [o.fate.outcome for o in outcomes],
        "statuses": [o.fate.status for o in outcomes],
        "priorities": [o.fate.priority for o in outcomes],
        "delays": [o.fate.after for o in outcomes],
        "codes": [o.verdict.status_code for o in outcomes],
        "milliseconds": [o.milliseconds for o in outcomes],
        "errors": [o.verdict.error for o in outcomes],
    }


def release(engine: Engine, claims: Sequence[Claim]) -> None:
    """Give back what was claimed and never sent, as if it had not been claimed. Raises Unavailable."""
    keys = {
        "clients": [claim.address.client_id for claim in claims],
        "ids": [claim.id for claim in claims],
        "tokens": [claim.token for claim in claims],
        "numbers": [claim.attempt for claim in claims],
        "priorities": [claim.priority for claim in claims],
    }
    with transaction(engine) as tx:
        tx.execute(_RELEASE, keys)


# The attempt hangs on the delivery's row: with the delivery first, always, this and a claim can't lock them crosswise.
_RECORD = text("""
    WITH result AS MATERIALIZED (
        SELECT * FROM unnest(
            CAST(:clients AS uuid[]), CAST(:ids AS uuid[]), CAST(:tokens AS uuid[]), CAST(:numbers AS int[]),
            CAST(:outcomes AS text[]), CAST(:statuses AS text[]), CAST(:priorities AS smallint[]),
            CAST(:delays AS float8[]), CAST(:codes AS int[]), CAST(:milliseconds AS int[]), CAST(:errors AS text[])
        ) AS r (client_id, id, token, number, outcome, status, priority, delay, status_code, milliseconds, error)
    ), recorded AS (
        UPDATE webhook_delivery d
        SET status = r.status,
            priority = r.priority,
            next_attempt_at = CASE WHEN r.status = 'pending' THEN now() + make_interval(secs => r.delay) END,
            finished_at = CASE WHEN r.status <> 'pending' THEN now() END,
            lease_until = NULL, lease_token = NULL
        FROM result r
        WHERE d.client_id = r.client_id AND d.id = r.id AND d.lease_token = r.token
        RETURNING d.client_id, d.id
    )
    UPDATE webhook_attempt a
    SET outcome = r.outcome, status_code = r.status_code, milliseconds = r.milliseconds, error = r.error,
        finished_at = clock_timestamp()
    FROM recorded JOIN result r USING (client_id, id)
    WHERE a.client_id = r.client_id AND a.delivery_id = r.id AND a.number = r.number
    RETURNING a.delivery_id, a.started_at
""")
# Without a lock: where the change of the endpoint is committed a moment later, the answer simply came before it.
_OUTDATED = text("""
    SELECT a.delivery_id
    FROM unnest(CAST(:clients AS uuid[]), CAST(:endpoints AS uuid[]), CAST(:ids AS uuid[]), CAST(:numbers AS int[]),
                CAST(:urls AS text[])) AS r (client_id, endpoint_id, id, number, url)
    JOIN webhook_attempt a ON a.client_id = r.client_id AND a.delivery_id = r.id AND a.number = r.number
    JOIN webhook_endpoint e ON e.client_id = r.client_id AND e.id = r.endpoint_id
    WHERE a.started_at < e.changed_at OR e.url <> r.url
""")
_RELEASE = text("""
    WITH released AS (
        UPDATE webhook_delivery d
        SET status = 'pending', priority = r.priority, attempts = d.attempts - 1, next_attempt_at = now(),
            lease_until = NULL, lease_token = NULL
        FROM unnest(CAST(:clients AS uuid[]), CAST(:ids AS uuid[]), CAST(:tokens AS uuid[]), CAST(:numbers AS int[]),
                    CAST(:priorities AS smallint[])) AS r (client_id, id, token, number, priority)
        WHERE d.client_id = r.client_id AND d.id = r.id AND d.lease_token = r.token
        RETURNING d.client_id, d.id, r.number
    )
    DELETE FROM webhook_attempt a USING released r
    WHERE a.client_id = r.client_id AND a.delivery_id = r.id AND a.number = r.number
""")
