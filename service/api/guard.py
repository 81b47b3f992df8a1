"""Who asks, and whether they may. Every route under /v1 but the token's own names the scope that it needs."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from flask import g, request

from service.access.scopes import Scope
from service.api.context import services
from service.errors import MissingScope, Unauthorized

View = TypeVar("View", bound=Callable[..., Any])
SCHEME = "bearer"
ONCE = "x-once"  # honours Idempotency-Key
IF_MATCH = "x-if-match"  # honours If-Match


def needs(scope: Scope) -> Callable[[View], View]:
    """Let a request through that carries a good token of a key with this scope; tell the docs about it as well."""

    def guard(view: View) -> View:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            services().limits.count_request()
            holder = services().tokens.authenticate(_bearer())
            if scope not in holder.scopes:
                raise MissingScope(scope)
            g.holder = holder
            return view(*args, **kwargs)

        guarded.scope = scope  # type: ignore[attr-defined]  # the architecture test reads it
        note(guarded, security=[{SCHEME: []}])
        return guarded  # type: ignore[return-value]

    return guard


def note(view: Any, **facts: Any) -> None:
    """Tell the docs something about a view; `docs.complete` says what follows from it."""
    docs = view._apidoc = dict(getattr(view, "_apidoc", {}))
    docs["manual_doc"] = {**docs.get("manual_doc", {}), **facts}


def _bearer() -> str:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token:
        raise Unauthorized
    return token.strip()
