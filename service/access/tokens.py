"""Bearer tokens: what an API key is exchanged for, so that the key itself travels seldom.

A token is a JWT (HS256) that names the key it was given for. Its header carries the id of the signing secret: with
SECRET_KEY_PREVIOUS set, tokens of both secrets are good, which is how a secret is rotated without logging anybody out.
A token is only as good as its key: `Tokens.authenticate` looks the key up again every two seconds at most, so a
revocation reaches every process well within the promised five, and the hot path stays free of look-ups.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

import jwt

from service import clock
from service.access.keys import KeyHolder
from service.errors import Unauthorized

ALGORITHM = "HS256"
ISSUER = "pbx-ledger"
KEY_MEMORY = 2.0  # seconds that a key found good is taken as good
REMEMBERED = 10_000  # tokens and keys that a process remembers at most


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says: for which key it was given, and when it ends (seconds since 1970)."""

    key_id: int
    expires: int


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is handed out, with the whole seconds that it lasts."""

    text: str
    seconds_left: int


class Signer:
    """Signs and verifies tokens. Holds one or two secrets, known by an id derived from each."""

    def __init__(self, secret: str, previous: str | None = None) -> None:
        self._keys = {_key_id(s): _signing_key(s) for s in filter(None, (previous, secret))}
        self._current = _key_id(secret)
        self.claims: Callable[[str], Claims] = lru_cache(maxsize=REMEMBERED)(self._claims)

    def sign(self, holder: KeyHolder, ttl: int) -> Token:
        """A token that lasts `ttl` seconds, or until its key expires if that is sooner."""
        issued = int(time.time())
        expires = issued + ttl
        if holder.expires_at is not None:
            expires = min(expires, int(holder.expires_at.timestamp()))
        payload = {
            "iss": ISSUER,
            "sub": str(holder.key_id),
            "cid": str(holder.client_id),
            "iat": issued,
            "exp": expires,
        }
        text = jwt.encode(payload, self._keys[self._current], ALGORITHM, headers={"kid": self._current})
        return Token(text, expires - issued)

    def _claims(self, text: str) -> Claims:
        try:
            key = self._keys[jwt.get_unverified_header(text)["kid"]]
            payload = jwt.decode(
                text, key, [ALGORITHM], issuer=ISSUER, options={"require": ["exp", "iat", "iss", "sub"]}
            )
            return Claims(int(payload["sub"]), int(payload["exp"]))
        except (jwt.InvalidTokenError, KeyError, ValueError, TypeError):
            raise Unauthorized from None


class Tokens:
    """Tells who a token speaks for; the only thing the API asks on each request."""

    def __init__(self, signer: Signer, find_key: Callable[[int], KeyHolder]) -> None:
        self._signer = signer
        self._find_key = find_key
        self._known: dict[int, tuple[float, KeyHolder]] = {}
        self._lock = Lock()

    def authenticate(self, text: str) -> KeyHolder:
        """The holder of the key behind a token. Raises Unauthorized, or Unavailable when that can't be told."""
        claims = self._signer.claims(text)
        if claims.expires <= clock.now().timestamp():
            raise Unauthorized
        seen, holder = self._known.get(claims.key_id, (0.0, None))
        if holder is not None and time.monotonic() - seen < KEY_MEMORY:
            return holder
        return self._look_up(claims.key_id)

    def _look_up(self, key_id: int) -> KeyHolder:
        asked = time.monotonic()
        try:
            holder = self._find_key(key_id)
        except Unauthorized:
            self._known.pop(key_id, None)
            raise
        with self._lock:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[key_id] = (asked, holder)
        return holder


def _signing_key(secret: str) -> bytes:
    """A key for tokens only: the environment's secret also protects other things."""
    return hmac.digest(secret.encode(), b"pbx-ledger token signing", hashlib.sha256)


def _key_id(secret: str) -> str:
    return hmac.digest(secret.encode(), b"pbx-ledger token key id", hashlib.sha256).hex()[:12]
