"""The signature of Standard Webhooks (standardwebhooks.com, 'v1'): HMAC-SHA256 over `{id}.{timestamp}.{body}`.

Written here instead of taken from the library: that one stamps aware datetimes outside UTC wrongly. The tests verify
with the library.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable

PREFIX = "whsec_"
SECRET_BYTES = 32  # the specification asks for 24 to 64


def new_secret() -> str:
    """A secret for an endpoint, as its subscriber pastes it into a library: `whsec_` and base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature(secrets: Iterable[str], webhook_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` header: one `v1,…` for each secret, so that an old one may sign along for a while.

    `timestamp` is in whole seconds since 1970, the same that the `webhook-timestamp` header says.
    """
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return " ".join(_v1(secret, signed) for secret in secrets)


def _v1(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
