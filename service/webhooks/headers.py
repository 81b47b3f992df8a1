"""Headers that a subscriber wants on its deliveries, such as a token of its own gateway's.

Their values may be secrets, so they are stored sealed and never shown again. What they may be called and hold leaves
nothing to a proxy's imagination: no header of ours, none that HTTP itself goes by, and no second line (RFC 9110 §5).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from service.errors import Invalid
from service.webhooks.vault import Vault

MOST = 10
LONGEST_NAME = 100  # characters
LONGEST_VALUE = 500

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110's token
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")  # a space at either end would not arrive
_OURS = "webhook-"
_RESERVED = frozenset(
    {
        "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "cookie", "date",
        "expect", "host", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te",
        "trailer", "transfer-encoding", "upgrade", "user-agent", "via",
    }
)  # fmt: skip


def check_headers(headers: Mapping[str, object]) -> None:
    """Refuse headers that we would not send. Raises Invalid; its sentence repeats no value."""
    if len(headers) > MOST:
        raise Invalid(f"headers: at most {MOST}")
    if len({name.lower() for name in headers}) < len(headers):
        raise Invalid("headers: a name is given more than once")
    for name, value in headers.items():
        if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
            raise Invalid("headers: a name must be the name of an HTTP header")
        if name.lower().startswith(_OURS) or name.lower() in _RESERVED:
            raise Invalid(f"headers: {name} cannot be set")
        if not isinstance(value, str) or len(value) > LONGEST_VALUE or not _VALUE.fullmatch(value):
            raise Invalid(f"headers: the value of {name} must be 1 to {LONGEST_VALUE} printable ASCII characters")


def write_headers(headers: Mapping[str, str] | None, vault: Vault) -> str | None:
    """As they are stored: sealed; None for none."""
    return vault.seal(json.dumps(dict(headers))) if headers else None


def read_headers(stored: str | None, vault: Vault) -> dict[str, str]:
    """As they were given. Raises Unreadable."""
    headers: dict[str, str] = json.loads(vault.open(stored)) if stored else {}
    return headers
