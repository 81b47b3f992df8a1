"""Which URLs are taken: refused by their form and their addresses when they are registered, and by the address that is
about to be dialled at every dial (`guard`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from service.config import Network
from service.errors import Invalid
from service.webhooks.guard import PORTS, may_dial
from service.webhooks.resolver import addresses_of

MAX_URL = 2000  # characters
_DEFAULT_PORTS = {"https": 443, "http": 80}
_ODD_NUMBER = re.compile(
    r"\d+$|0x[0-9a-f]*$", re.ASCII
)  # 127.1, 0x7f000001: an address to C's resolver, though not to us


def check_url(url: str, allow: Sequence[Network]) -> None:
    """Refuse a URL by its form, and by the addresses that it leads to now. Raises Invalid.

    A name of which no address may be dialled is refused. One that can't be looked up just now is taken for https: what
    it resolves to can change at any time, and the guard at the dial has the last word. Plain http is for the allowed
    networks alone, and every address of the name must lie there now. Looks names up, for some seconds at most, so no
    lock that others wait for may be held meanwhile.
    """
    parts, port = _split(url)
    scheme, host = parts.scheme, parts.hostname or ""
    literal = _as_literal(host)
    if not literal and _ODD_NUMBER.match(host.rpartition(".")[2]):
        raise Invalid("url must name a host, or an address in its usual form")
    if scheme == "http" and not _leads_inside(host, port, allow):
        raise Invalid("url must begin with https://")
    if scheme == "https" and not literal and not allow and port not in PORTS:
        raise Invalid("url must use port 443 or 8443")
    if scheme == "https" and not _may_lead_outside(literal, host, port, allow):
        raise Invalid("url must name a public address, on port 443 or 8443")


def _split(url: str) -> tuple[SplitResult, int]:
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise Invalid(f"url must be at most {MAX_URL} printable ASCII characters without spaces")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Invalid("url cannot be read as a URL") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise Invalid("url must begin with https:// and name a host")
    if parts.username is not None or parts.password is not None:
        raise Invalid("url must not hold a user name or password")
    if parts.fragment:
        raise Invalid("url must not have a fragment")
    return parts, port or _DEFAULT_PORTS[parts.scheme]


def _as_literal(host: str) -> str | None:
    try:
        return str(ip_address(host))
    except ValueError:
        return None


def _may_lead_outside(literal: str | None, host: str, port: int, allow: Sequence[Network]) -> bool:
    """Whether an address of a host may be dialled, or none is known yet."""
    addresses = [literal] if literal else addresses_of(host, port)
    return not addresses or any(may_dial(address, port, allow, tls=True) for address in addresses)


def _leads_inside(host: str, port: int, allow: Sequence[Network]) -> bool:
    """Whether every address of a host lies in the allowed networks."""
    addresses = addresses_of(host, port) if allow else ()
    return bool(addresses) and all(may_dial(address, port, allow, tls=False) for address in addresses)
