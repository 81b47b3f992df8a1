"""Names to addresses, each lookup on a thread of its own.

`getaddrinfo` can't be interrupted: a lookup whose attempt is over holds its thread until the name server answers or C
gives up, after 10 to 30 seconds as a rule. So the names of a few clients whose servers don't answer would fill any pool
of the usual size, and hold up endpoints that are perfectly well. There is no telling them from good names in advance;
but a thread that waits costs next to nothing, so there may be more of them than can get stuck in practice. (aiohttp
looks a name up once at a time, however many deliveries wait for it.) They are daemons: no process waits for them when
it ends. aiodns would need no threads, but reads the system's configuration in its own way, and is one more library.

Where even that is not enough, a lookup is soon given up, and the failed attempt is our fault, not the endpoint's.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from contextlib import suppress
from threading import Thread

import structlog
from aiohttp.abc import AbstractResolver, ResolveResult

# At once. Twice as many as there are deliveries under way, and some: a lookup that is stuck outlives its attempt once.
LOOKUPS = 512
# Seconds to wait for one of them to end, which is enough for a crowd of good names. Shorter than any timeout of an
# attempt: that would pass for the endpoint's.
QUEUE = 0.5
PATIENCE = 3.0  # seconds that a caller waits who would like to know, and can do without

log = structlog.get_logger()


class NoThread(OSError):
    """There is no thread to look a name up on. An OSError, as every other reason why it is not known."""

    def __init__(self) -> None:
        super().__init__(errno.EAGAIN, "no thread for a lookup")


class ThreadedResolver(AbstractResolver):
    """`getaddrinfo` on threads that nobody waits for at the end. Belongs to one event loop."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(LOOKUPS)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a host. Raises OSError; NoThread where the host has nothing to do with it."""
        try:
            return await self._resolve(host, port, family)
        except NoThread:
            log.warning("webhook name not looked up", host=host, lookups=LOOKUPS)
            raise

    async def _resolve(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        try:
            async with asyncio.timeout(QUEUE):
                await self._free.acquire()
        except TimeoutError:
            raise NoThread from None
        loop = asyncio.get_running_loop()
        found = _started(host, port, family)
        found.add_done_callback(lambda _: self._release(loop))  # when its thread ends, not when its attempt does
        return await asyncio.wrap_future(found)

    def _release(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(RuntimeError):  # the loop is closed, so there is nobody left who could want a thread
            loop.call_soon_threadsafe(self._free.release)

    async def close(self) -> None:
        """Nothing to do: a thread that still waits for a name server ends when that gives up, or with the process."""


def addresses_of(host: str, port: int) -> Sequence[str]:
    """What a host resolves to now; nothing where that can't be said within PATIENCE."""
    try:
        return [result["host"] for result in _started(host, port, socket.AF_UNSPEC).result(PATIENCE)]
    except (OSError, UnicodeError, TooLate):
        return ()


def _started(host: str, port: int, family: socket.AddressFamily) -> Future[list[ResolveResult]]:
    found: Future[list[ResolveResult]] = Future()
    found.set_running_or_notify_cancel()  # from now on it can't be cancelled: it is done when its thread is
    try:
        Thread(target=_tell, args=(found, host, port, family), name="resolve", daemon=True).start()
    except RuntimeError:  # the system's own limit of threads is lower than ours
        found.set_exception(NoThread())
    return found


def _tell(found: Future[list[ResolveResult]], host: str, port: int, family: socket.AddressFamily) -> None:
    try:
        found.set_result(_lookup(host, port, family))
    except Exception as error:  # whatever it is, it belongs to who asked
        found.set_exception(error)


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
