"""A healthy subscriber, which answers each POST after 20 ms and notes when it came. At `/never` it never does."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

ANSWERS_AFTER = 0.02  # seconds
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Subscriber:
    """Where it listens, and when what arrived did, by `time.perf_counter`."""

    port: int
    arrived: list[float] = field(default_factory=list)

    def url(self, path: str) -> str:
        """The URL of a path."""
        return f"http://127.0.0.1:{self.port}{path}"


@contextmanager
def healthy_subscriber() -> Iterator[Subscriber]:
    """Listens for as long as the block lasts. In a thread: what is measured is another process."""
    subscriber, ready = Subscriber(0), threading.Event()
    over: list[Callable[[], object]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n")[0]))
                if head.startswith(b"post /never"):
                    await reader.read()
                    break
                subscriber.arrived.append(time.perf_counter())
                await asyncio.sleep(ANSWERS_AFTER)
                writer.write(_ANSWER)
        writer.close()

    async def listen() -> None:
        told = asyncio.Event()
        over.append(partial(asyncio.get_running_loop().call_soon_threadsafe, told.set))
        server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1000)
        subscriber.port = server.sockets[0].getsockname()[1]
        ready.set()
        await told.wait()

    thread = threading.Thread(target=asyncio.run, args=(listen(),), daemon=True)
    thread.start()
    ready.wait()
    yield subscriber
    over[0]()
    thread.join()
