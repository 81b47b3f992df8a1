"""A load generator: a few threads, each with one kept connection, sending the same request as fast as it is answered.

Raw sockets, because on a small machine a client library would cost more than the server under test. Bounded by time.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle


@dataclass
class Result:
    """Latencies in seconds, and how long the whole took."""

    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0
    failures: int = 0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    def rate_or_fail(self) -> float:
        """The same. Raises RuntimeError where an answer was not a 200: a fast failure is no speed."""
        if self.failures or not self.latencies:
            raise RuntimeError(f"{self.failures} of {len(self.latencies)} answers were not a 200")
        return self.rate

    def quantile(self, share: float) -> float:
        """The latency in milliseconds that such a share of the answers stayed under."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


def put(
    port: int, paths: Sequence[str], body: bytes, headers: Mapping[str, str], *, threads: int, seconds: float
) -> Result:
    """Send a PUT over and over, to one path after the other; every answer should be a 200."""
    requests = [_request(path, body, headers) for path in paths]
    results = [Result() for _ in range(threads)]
    until = time.perf_counter() + seconds
    workers = [
        threading.Thread(target=_send, args=(port, requests[n::threads] or requests, until, result))
        for n, result in enumerate(results)
    ]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    merged = Result(seconds=time.perf_counter() - began)
    for result in results:
        merged.latencies += result.latencies
        merged.failures += result.failures
    return merged


def _request(path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    lines = [f"PUT {path} HTTP/1.1", "Host: loopback", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode() + body


def _send(port: int, requests: Sequence[bytes], until: float, result: Result) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for request in cycle(requests):
            sent = time.perf_counter()
            if sent >= until:
                return
            connection.sendall(request)
            if not _answered(connection):
                result.failures += 1
            result.latencies.append(time.perf_counter() - sent)


def _answered(connection: socket.socket) -> bool:
    """Read one whole answer; whether it was a 200."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    lower = head.lower()
    at = lower.index(b"content-length:") + 15
    length = int(lower[at : lower.find(b"\r\n", at) if b"\r\n" in lower[at:] else None])
    while len(body) < length:
        body += connection.recv(65536)
    return head.startswith(b"HTTP/1.1 200")
