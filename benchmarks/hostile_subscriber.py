"""Subscribers that mean ill, each at a path of its own: `python -m benchmarks.hostile_subscriber PORT`.

In a process of its own, so that what it costs them to be nasty is not taken from a healthy subscriber's time.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

OK = b"HTTP/1.1 200 OK\r\n"
PAUSE = 0.05  # seconds between two drops of a drip
FOR_EVER = 3600.0  # seconds; every attempt is long over

Manner = Callable[[asyncio.StreamWriter], Awaitable[None]]


def _drips(opening: bytes, drop: bytes, pause: float = PAUSE) -> Manner:
    async def manner(writer: asyncio.StreamWriter) -> None:
        writer.write(opening)
        while not writer.is_closing():
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(pause)

    return manner


def _says(*pieces: bytes, then_waits: float = 0.0) -> Manner:
    async def manner(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        await asyncio.sleep(then_waits)

    return manner


# `/no-tls` is asked by https, to which it answers in clear.
MANNERS: dict[str, Manner] = {
    "/drips-headers": _drips(OK + b"X-Slow: ", b"x"),
    "/drips-body": _drips(OK + b"Content-Length: 100000\r\n\r\n", b"x"),
    "/never-answers": _says(then_waits=FOR_EVER),
    "/closes-within-headers": _says(OK + b"X-Half: a hea"),
    "/ten-megabytes": _says(OK + b"Content-Length: 10000000\r\n\r\n", b"x" * 10_000_000),
    "/continues": _drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "/no-tls": _says(OK),
}


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
        head = await reader.readuntil(b"\r\n\r\n")
        await MANNERS[head.split()[1].decode()](writer)
    writer.close()


async def _listen(port: int) -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", port, backlog=1000)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_listen(int(sys.argv[1])))
