"""Names to addresses, on threads of their own.

asyncio's default pool has six threads on a small machine: a handful of names whose servers don't answer would hold up
every other lookup, and with it endpoints that are perfectly well.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from threading import Thread

from aiohttp.abc import AbstractResolver, ResolveResult

LOOKUPS = 64  # at once; a thread that waits for a name server costs next to nothing
PATIENCE = 3.0  # seconds that a caller waits who would like to know, and can do without


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


def addresses_of(host: str, port: int) -> Sequence[str]:
    """What a host resolves to now; nothing where that can't be said within PATIENCE."""
    found: Future[list[ResolveResult]] = Future()
    Thread(target=_tell, args=(found, host, port), daemon=True).start()
    try:
        return [result["host"] for result in found.result(PATIENCE)]
    except (OSError, UnicodeError, TooLate):
        return ()


def _tell(found: Future[list[ResolveResult]], host: str, port: int) -> None:
    try:
        found.set_result(_lookup(host, port, socket.AF_UNSPEC))
    except Exception as error:  # whatever it is, it belongs to who asked
        found.set_exception(error)
