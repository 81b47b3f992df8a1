"""Who wants to hear: endpoints registered, read, changed, given up.

An endpoint that is given up stays as a row, for its deliveries' sake, but is gone for every reader, and its secrets are
erased. A secret is shown by what makes it and by nothing else.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    RowMapping,
    case,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    text,
    update,
)
from sqlalchemy import exc as sa

from service.config import Network
from service.db.transaction import reading, transaction
from service.errors import Conflict, Invalid, NotFound
from service.models import Client, WebhookEndpoint
from service.webhooks.headers import check_headers, read_headers, write_headers
from service.webhooks.payload import EVENT_TYPES
from service.webhooks.signing import new_secret
from service.webhooks.urls import check_url
from service.webhooks.vault import Unreadable, Vault

KEEP_FOR = 24 * 3600  # seconds that an old secret signs along, unless asked otherwise
KEEP_FOR_MOST = 7 * 24 * 3600
ASKED_FOR = "asked for"  # why an endpoint is disabled that nobody but its owner has disabled
MOST_ENDPOINTS = 20  # of a client
_E = WebhookEndpoint

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint as its owner may see it: without its secret, and of its own headers only the names."""

    id: uuid.UUID
    url: str
    event_types: Sequence[str] | None
    description: str
    ordered: bool
    headers: Sequence[str]
    created_at: datetime
    disabled_at: datetime | None
    disabled_reason: str | None
    failing_since: datetime | None
    previous_secret_until: datetime | None


@dataclass(frozen=True, slots=True)
class NewEndpoint:
    """What is said of an endpoint; `event_types` None: all, also those to come."""

    url: str = field(repr=False)
    event_types: Collection[str] | None = None
    description: str = ""
    ordered: bool = False
    headers: Mapping[str, str] | None = field(default=None, repr=False)


def add_endpoint(
    engine: Engine,
    client_id: uuid.UUID,
    url: str,
    event_types: Collection[str] | None = None,
    *,
    vault: Vault,
    allow_networks: Sequence[Network] = (),
) -> tuple[uuid.UUID, str]:
    """Register a URL for some event types (None: for all, also those to come); its id, and its secret this once.

    Raises Invalid where the URL is not one that we would send to, NotFound where there is no such client.
    """
    try:
        with transaction(engine) as tx:
            new = NewEndpoint(url, event_types)
            endpoint, secret = create_endpoint(tx, client_id, new, vault, allow_networks=allow_networks)
    except sa.IntegrityError:
        raise NotFound("client not found") from None
    return endpoint.id, secret


def create_endpoint(
    tx: Connection, client_id: uuid.UUID, new: NewEndpoint, vault: Vault, *, allow_networks: Sequence[Network] = ()
) -> tuple[Endpoint, str]:
    """Register an endpoint; and its secret, this once.

    Raises Invalid where it is not one that we would send to, Conflict where the client has MOST_ENDPOINTS already: each
    event is written down for each of them.
    """
    secret = new_secret()
    said = {
        "url": new.url,
        "event_types": new.event_types,
        "description": new.description,
        "ordered": new.ordered,
        "headers": new.headers,
    }
    values = _checked(said, vault, allow_networks)
    _require_room(tx, client_id)
    row = tx.execute(
        insert(_E).values(client_id=client_id, secret=vault.seal(secret), **values).returning(*_COLUMNS)
    ).mappings()
    return _endpoint(row.one(), vault), secret


def _require_room(tx: Connection, client_id: uuid.UUID) -> None:
    """Raises Conflict where the client has as many endpoints as it may; two that are made at once count in turn."""
    tx.execute(select(Client.id).where(Client.id == client_id).with_for_update(key_share=True))
    there = tx.scalars(select(_E.id).where(_E.client_id == client_id, _E.deleted_at.is_(None))).all()
    if len(there) >= MOST_ENDPOINTS:
        raise Conflict(f"a client can have {MOST_ENDPOINTS} webhooks at most")


def find_endpoint(engine: Engine, client_id: uuid.UUID, endpoint_id: uuid.UUID, vault: Vault) -> Endpoint:
    """One endpoint. Raises NotFound."""
    with reading(engine) as connection:
        row = connection.execute(select(*_COLUMNS).where(*_there(client_id, endpoint_id))).mappings().one_or_none()
    if row is None:
        raise webhook_not_found()
    return _endpoint(row, vault)


def list_endpoints(
    engine: Engine, client_id: uuid.UUID, vault: Vault, *, limit: int, offset: int
) -> tuple[list[Endpoint], int]:
    """A page of a client's endpoints, oldest first, and how many there are in all."""
    there = (_E.client_id == client_id, _E.deleted_at.is_(None))
    page = select(*_COLUMNS).where(*there).order_by(_E.created_at, _E.id).limit(limit).offset(offset)
    with reading(engine) as connection:
        rows = connection.execute(page).mappings().all()
        total = connection.scalar(select(func.count()).select_from(_E).where(*there))
    return [_endpoint(row, vault) for row in rows], total or 0


def change_endpoint(
    tx: Connection,
    client_id: uuid.UUID,
    endpoint_id: uuid.UUID,
    said: Mapping[str, Any],
    vault: Vault,
    *,
    allow_networks: Sequence[Network] = (),
) -> Endpoint:
    """Change what is named in `said`: fields of NewEndpoint, and `disabled`. Raises Invalid, NotFound.

    One that is enabled again, or has another URL, begins with a clean slate: nothing is held against it, not even what
    was under way. To say again what is so already wipes nothing, since many send the whole of what they read.
    """
    values = _checked(said, vault, allow_networks)
    disabled = values.pop("disabled", None)
    if disabled is True:
        values["disabled_reason"] = func.coalesce(_E.disabled_reason, ASKED_FOR)
        values["disabled_at"] = func.coalesce(_E.disabled_at, func.now())
    if disabled is False:
        values |= {"disabled_at": None, "disabled_reason": None}
    values |= _clean_slate(_begins_anew(values, disabled))
    change = update(_E).where(*_there(client_id, endpoint_id)).values(values)
    row = tx.execute(change.returning(*_COLUMNS)).mappings().one_or_none()
    if row is None:
        raise webhook_not_found()
    return _endpoint(row, vault)


def delete_endpoint(tx: Connection, client_id: uuid.UUID, endpoint_id: uuid.UUID) -> None:
    """Give an endpoint up; what it is still owed is skipped when its turn comes. Raises NotFound."""
    if not tx.execute(_DELETE, {"client": client_id, "id": endpoint_id}).rowcount:
        raise webhook_not_found()


def rotate_secret(
    tx: Connection, client_id: uuid.UUID, endpoint_id: uuid.UUID, keep_for: int, vault: Vault
) -> tuple[str, datetime | None]:
    """Give an endpoint a new secret, shown this once; and until when the old one signs along, for `keep_for` seconds.

    One that was signing along from a rotation before does not any more. Raises NotFound.
    """
    secret = new_secret()
    values = {"client": client_id, "id": endpoint_id, "secret": vault.seal(secret), "keep_for": keep_for}
    row = tx.execute(_ROTATE, values).one_or_none()
    if row is None:
        raise webhook_not_found()
    return secret, row.previous_secret_until


def require_enabled(connection: Connection, client_id: uuid.UUID, endpoint_id: uuid.UUID) -> None:
    """Raises NotFound; and Conflict where the endpoint is disabled, since what it is owed would only be skipped."""
    row = connection.execute(select(_E.disabled_at).where(*_there(client_id, endpoint_id))).one_or_none()
    if row is None:
        raise webhook_not_found()
    if row.disabled_at is not None:
        raise Conflict("the webhook is disabled")


def webhook_not_found() -> NotFound:
    """No endpoint of this client has that id, or it was deleted."""
    return NotFound("webhook not found")


def _there(client_id: uuid.UUID, endpoint_id: uuid.UUID) -> tuple[Any, ...]:
    return _E.client_id == client_id, _E.id == endpoint_id, _E.deleted_at.is_(None)


def _begins_anew(values: Mapping[str, Any], disabled: bool | None) -> ColumnElement[bool]:
    url_changes = _E.url.is_distinct_from(values.get("url", _E.url))
    return or_(url_changes, _E.disabled_at.is_not(None)) if disabled is False else url_changes


def _clean_slate(anew: ColumnElement[bool]) -> dict[str, ColumnElement[Any]]:
    # Not now(): the transaction may have begun before an attempt that the old URL still got.
    slate = {
        "failures": literal(0),
        "failing_since": null(),
        "last_failed_at": null(),
        "open_until": null(),
        "changed_at": func.clock_timestamp(),
    }
    return {name: case((anew, clean), else_=getattr(_E, name)) for name, clean in slate.items()}


def _checked(said: Mapping[str, Any], vault: Vault, allow_networks: Sequence[Network]) -> dict[str, Any]:
    """What is said of an endpoint, as it is stored. Raises Invalid."""
    values = dict(said)
    if "url" in values:
        check_url(values["url"], allow_networks)
    if "event_types" in values:
        values["event_types"] = _checked_types(values["event_types"])
    if "headers" in values:
        check_headers(values["headers"] or {})
        values["headers"] = write_headers(values["headers"], vault)
    return values


def _checked_types(event_types: Collection[str] | None) -> list[str] | None:
    if event_types is None:
        return None
    unknown = sorted(set(event_types) - EVENT_TYPES)
    if unknown or not event_types:
        known = ", ".join(sorted(EVENT_TYPES))
        raise Invalid(f"event_types must name some of: {known}" + (f"; not {unknown[0]}" if unknown else ""))
    return sorted(set(event_types))


_COLUMNS = (
    _E.id, _E.url, _E.event_types, _E.description, _E.ordered, _E.headers, _E.created_at, _E.disabled_at,
    _E.disabled_reason, _E.failing_since,
    case((_E.previous_secret_until > func.now(), _E.previous_secret_until)).label("previous_secret_until"),
)  # fmt: skip


def _endpoint(row: RowMapping, vault: Vault) -> Endpoint:
    return Endpoint(**{**row, "headers": _names(row, vault)})


def _names(row: RowMapping, vault: Vault) -> list[str]:
    """None where the key is lost: an endpoint whose headers nobody can read must still be read, and so be mended."""
    try:
        return sorted(read_headers(row["headers"], vault))
    except Unreadable:
        log.warning("webhook headers unreadable", endpoint_id=str(row["id"]))
        return []


_DELETE = text("""
    UPDATE webhook_endpoint
    SET deleted_at = now(), disabled_at = coalesce(disabled_at, now()), secret = '', headers = NULL,
        previous_secret = NULL, previous_secret_until = NULL
    WHERE client_id = :client AND id = :id AND deleted_at IS NULL
""")
_ROTATE = text("""
    UPDATE webhook_endpoint
    SET previous_secret = CASE WHEN :keep_for > 0 THEN secret END,
        previous_secret_until = CASE WHEN :keep_for > 0 THEN now() + make_interval(secs => :keep_for) END,
        secret = :secret
    WHERE client_id = :client AND id = :id AND deleted_at IS NULL
    RETURNING previous_secret_until
""")
