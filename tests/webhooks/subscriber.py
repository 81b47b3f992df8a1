"""A subscriber's server: real HTTP on loopback, with the manners that a test gives it, path by path."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from itertools import repeat as repeated

Manner = Callable[["Received", asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Received:
    """One POST as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def webhook_id(self) -> str:
        return self.headers["webhook-id"]


def answers(status: int, *headers: str, body: bytes = b"ok", after: float = 0.0) -> Manner:
    """Answers with a status, after so many seconds."""

    async def manner(_received: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(after)
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()

    return manner


def says(*pieces: bytes, every: float = 0.0, repeat: int = 1, then_close: bool = True) -> Manner:
    """Writes exactly these bytes, piece by piece, so many times over; then hangs up, or says nothing more."""

    async def manner(_received: Received, writer: asyncio.StreamWriter) -> None:
        for piece in chain.from_iterable(repeated(pieces, repeat)):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(every)
        if not then_close:
            await asyncio.sleep(3600)
        writer.close()

    return manner


def in_turn(*manners: Manner) -> Manner:
    """The first manner for the first POST, and so on; the last one for all others."""
    left = list(manners)

    async def manner(received: Received, writer: asyncio.StreamWriter) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(received, writer)

    return manner


NEVER = answers(200, after=3600)


class Subscriber:
    """Listens until the end of the `with` block; everything that arrived is in `received`."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.received: list[Received] = []
        self.manners: dict[str, Manner] = {}
        self.most_at_once: Counter[str] = Counter()
        self.connections = 0
        self.greeting = b""  # what it says before it has heard anything
        self._now: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()

    def __enter__(self) -> Subscriber:
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def url(self, path: str = "/", manner: Manner | None = None) -> str:
        """The URL of a path, which from now on has a manner."""
        if manner:
            self.manners[path] = manner
        return f"http://127.0.0.1:{self.port}{path}"

    def at(self, path: str) -> Sequence[Received]:
        """What arrived at a path."""
        return [r for r in self.received if r.path == path]

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1000, ssl=self._tls)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in (pending := asyncio.all_tasks(self._loop)):
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            writer.write(self.greeting)
            while not writer.is_closing():
                await self._answer(await _read(reader), reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = received.path
        self.received.append(received)
        self._now[path] += 1
        self.most_at_once[path] = max(self.most_at_once[path], self._now[path])
        try:
            await self._until_gone(self.manners.get(path, answers(200))(received, writer), reader)
        finally:
            self._now[path] -= 1

    async def _until_gone(self, manner: Awaitable[None], reader: asyncio.StreamReader) -> None:
        """A caller that hung up is no longer being answered."""
        answering, leaving = asyncio.ensure_future(manner), asyncio.ensure_future(_gone(reader))
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        for task in (answering, leaving):
            task.cancel()
        await asyncio.gather(answering, leaving, return_exceptions=True)


async def _gone(reader: asyncio.StreamReader) -> None:
    while not reader.at_eof():  # noqa: ASYNC110  asyncio has no event for it
        await asyncio.sleep(0.01)


async def _read(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.rstrip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers["content-length"]))
    return Received(first.split()[1], headers, body)
