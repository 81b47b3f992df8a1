"""`Idempotency-Key`: a write that is sent again is answered again, not carried out again.

The view runs in the transaction that also keeps its answer. A refusal is kept like any other answer, so that a retry
can't turn it into a success behind the caller's back; what says only 'not now' (503), or what never came as far as the
view (400, 401, 413 …), is not, and may be sent again with the same key.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import wraps
from typing import Any, TypeVar

from flask import Response, g, request

from service.api.context import holder, services
from service.api.errors import refusal_response, status_of
from service.api.guard import ONCE, note
from service.api.parsing import read_body
from service.api.write import announce, ring_soon
from service.db.transaction import transaction
from service.errors import InFlight, Invalid, OutcomeUnknown, Refusal, Unavailable
from service.ledger.idempotency import FirstAnswer, KeyedRequest, claim, remember

View = TypeVar("View", bound=Callable[..., Any])

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
KEPT_STATUSES = frozenset({404, 409, 412})  # of refusals that another day might be successes
KEPT_HEADERS = ("Content-Type", "ETag", "Ledger-Event", "Cache-Control")
ASK_AGAIN_FOR = 5.0  # seconds, after a commit whose answer was lost
ASK_AGAIN_PAUSE = 0.2
UNKNOWN = "the database went away before it answered: ask again with the same Idempotency-Key"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def once(view: View) -> View:
    """Have a writing view honour Idempotency-Key."""
    return _once(view, _OPENLY)


def once_sealed(view: View) -> View:
    """The same for a view whose answer shows a secret: what is kept of it is kept encrypted."""
    return _once(view, _Keeping(_seal, _open))


def _seal(body: bytes) -> bytes:
    return services().vault.seal_bytes(body)


def _open(body: bytes) -> bytes:
    return services().vault.open_bytes(body)


@dataclass(frozen=True, slots=True)
class _Keeping:
    """How the body of an answer is written down, and read again."""

    write: Callable[[bytes], bytes]
    read: Callable[[bytes], bytes]


_OPENLY = _Keeping(bytes, bytes)


def _once(view: View, keeping: _Keeping) -> View:
    @wraps(view)
    def answered_once(*args: Any, **kwargs: Any) -> Any:
        key = request.headers.get(HEADER)
        if key is None:
            return view(*args, **kwargs)
        if not _KEY.fullmatch(key):
            raise Invalid(f"{HEADER}: must be 1 to 255 visible ASCII characters")
        g.keyed = KeyedRequest(holder().client_id, key, _fingerprint())
        return _Attempts(g.keyed, lambda: view(*args, **kwargs), keeping).answer()

    answered_once.once = True  # type: ignore[attr-defined]  # the architecture test reads it
    note(answered_once, **{ONCE: True})
    return answered_once  # type: ignore[return-value]


class _Attempts:
    """Carries a keyed request out, and asks again where the answer to its commit was lost."""

    def __init__(self, keyed: KeyedRequest, view: Callable[[], Response], keeping: _Keeping) -> None:
        self._keyed = keyed
        self._view = view
        self._keeping = keeping

    def answer(self) -> Response:
        """The first answer, or its replay. Raises KeyReused, InFlight, and what the view raises and is not kept."""
        deadline = None  # none, as long as it is sure that nothing was done
        while True:
            try:
                return self._attempt()
            except (Unavailable, InFlight) as error:
                if deadline is None and not isinstance(error, OutcomeUnknown):
                    raise
                deadline = deadline or time.monotonic() + ASK_AGAIN_FOR
                if time.monotonic() > deadline:
                    raise OutcomeUnknown(UNKNOWN) from None
                time.sleep(ASK_AGAIN_PAUSE)

    def _attempt(self) -> Response:
        g.done, g.bells = [], []
        try:
            with transaction(services().engine) as g.transaction:
                claimed = claim(g.transaction, self._keyed)
                if claimed.answer is not None:
                    return _replay(claimed.answer, self._keeping)
                g.customers = claimed.customers
                response = _response(self._view)
                remember(g.transaction, self._keyed, _kept(response, self._keeping))
        finally:
            g.transaction = None
        announce(g.done)
        for bell in g.bells:
            ring_soon(bell)
        return response


def _response(view: Callable[[], Response]) -> Response:
    try:
        return view()
    except Refusal as refusal:
        if status_of(refusal) not in KEPT_STATUSES:
            raise
        return refusal_response(refusal)


def _kept(response: Response, keeping: _Keeping) -> FirstAnswer:
    headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    return FirstAnswer(response.status_code, headers, keeping.write(response.get_data()))


def _replay(first: FirstAnswer, keeping: _Keeping) -> Response:
    return Response(keeping.read(bytes(first.body)), first.status, {**first.headers, REPLAYED: "true"})


def _fingerprint() -> bytes:
    """What makes two requests the same: method, path, and the body as JSON, whatever the order of its keys, whatever
    the spelling of its numbers; where the body is not JSON, its media type as well."""
    body = read_body(request)
    try:
        value = json.loads(body, parse_float=Decimal, parse_int=Decimal)
        canonical = json.dumps(value, sort_keys=True, default=_number).encode()
    except (ValueError, ArithmeticError, RecursionError):
        canonical = body  # lines, or what is refused anyway
    # JSON goes without its media type: the keys of earlier releases did.
    media_type = [request.mimetype] if body and request.mimetype and not request.is_json else []
    parts = [part.encode() for part in (request.method, request.path, *media_type)]
    return hashlib.sha256(b"\n".join([*parts, canonical])).digest()


def _number(value: Decimal) -> dict[str, str]:
    """A number in a shape that no text has (1.5 is not "1.5"), and not multiplied out: it may be 1e999999."""
    sign, digits, exponent = value.as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    zeros = len(text) - len(text.rstrip("0"))
    if not text or not isinstance(exponent, int):
        return {"number": "0"}
    return {"number": f"{'-' * sign}{text.rstrip('0')}e{exponent + zeros}"}
