"""Which addresses a webhook may be sent to, asked at the moment of dialling.

A subscriber chooses the URL, so without this it could make us knock on our own network: the cloud's metadata service,
the database, a router. Checking the name in advance is no defence (it can resolve differently a second later), so the
check sits where the socket for one resolved address is made: literals in odd notations, names that rebind and IPv4 in
the clothes of IPv6 all end up here, and no packet has left yet.

`ipaddress.is_global` is not the rule: it calls 224.0.0.1, 192.88.99.1, ::127.0.0.1, 64:ff9b::7f00:1 and fec0::1 global.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp.connector import AddrInfoType, SocketFactoryType

from service.config import Network

PORTS = frozenset({443, 8443})
# Bytes that the kernel takes in before we read (Linux keeps twice as many). asyncio would take 256 KB in one turn and
# parse them, and a subscriber that sends without pause would have most of every turn. An answer that we read to its
# end has 16 KB at most, so nobody honest notices.
RECEIVE_BUFFER = 8192

# IANA's special-purpose registry, multicast, the reserved top, and one public address that is a cloud's own.
_DENIED_IPV4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host, reachable from every machine of it
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# Only global unicast, and of that not the ranges that embed an IPv4 address (Teredo, 6to4) or are documentation. What
# lies outside 2000::/3 (loopback, ::a.b.c.d, NAT64's 64:ff9b::, site- and link-local, multicast) needs no list.
_GLOBAL_IPV6 = IPv6Network("2000::/3")
_DENIED_IPV6 = tuple(
    IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)


class AddressRefused(OSError):
    """The guard does not let this address be dialled. An OSError, so that the next address of the name is tried."""

    def __init__(self) -> None:
        super().__init__(errno.EACCES, "address refused")


def may_dial(address: str, port: int, allow: Sequence[Network], *, tls: bool) -> bool:
    """Whether a connection may be opened; `address` is a literal as the resolver returned it.

    The networks of `allow` (WEBHOOK_ALLOW_NETWORKS) pass on any port, with TLS or without; everything else must be a
    public address, TLS, and one of the ports for it.
    """
    actual = _unwrapped(address)
    if any(actual in network for network in allow):
        return True
    return tls and port in PORTS and is_public(actual)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is out on the internet, and not on anybody's private or special network."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _DENIED_IPV4)
    return address in _GLOBAL_IPV6 and not any(address in network for network in _DENIED_IPV6)


def _unwrapped(literal: str) -> IPv4Address | IPv6Address:
    """`::ffff:127.0.0.1` is dialled as 127.0.0.1, so it is judged as 127.0.0.1."""
    address = ip_address(literal)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def guarded_sockets(allow: Sequence[Network], *, tls: bool) -> SocketFactoryType:
    """Makes the sockets of a connector, and refuses to for an address that may not be dialled."""

    def make(info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, target = info
        if not may_dial(str(target[0]), int(target[1]), allow, tls=tls):
            raise AddressRefused
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)  # before it dials, or TCP promises more
        return made

    return make
