"""Names to addresses, on threads of their own.

asyncio's default pool has six threads on a small machine: a handful of names whose servers don't answer would hold up
every other lookup, and with it endpoints that are perfectly well.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

from aiohttp.abc import AbstractResolver, ResolveResult

LOOKUPS = 64  # at once; a thread that waits for a name server costs next to nothing


class ThreadedResolver(AbstractResolver):
    """`getaddrinfo` on a pool of threads that nobody waits for at the end."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="resolve")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a host. Raises OSError."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _lookup, host, port, family)

    async def close(self) -> None:
        """Let go of the threads; one that still waits for a name server ends when that gives up."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _lookup(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG)
    return [
        ResolveResult(
            hostname=host,
            host=str(target[0]),
            port=int(target[1]),
            family=family,
            proto=protocol,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for family, _, protocol, _, target in infos
    ]
