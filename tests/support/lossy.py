"""A network between the service and its database that swallows an answer: what was asked is done, and nobody hears."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

CHUNK = 65_536


@dataclass
class Network:
    """`swallow`: break the connection instead of passing on the answer to the next message with these bytes in it."""

    port: int
    swallow: bytes | None = None
    swallowed: int = 0

    def wants(self, sent: bytes) -> bool:
        return self.swallow is not None and self.swallow in sent

    def done(self) -> None:
        self.swallow = None
        self.swallowed += 1


@contextmanager
def lossy(host: str, port: int) -> Iterator[Network]:
    """A way to a server that loses what it is told to lose, for as long as the block lasts."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        network = Network(listener.getsockname()[1])
        threading.Thread(target=_accept, args=(listener, network, (host, port)), daemon=True).start()
        yield network
        listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, network: Network, server: tuple[str, int]) -> None:
    with suppress(OSError):
        while True:
            near, _ = listener.accept()
            threading.Thread(target=_carry, args=(near, socket.create_connection(server), network), daemon=True).start()


def _carry(near: socket.socket, far: socket.socket, network: Network) -> None:
    """Messages one after the other: the driver waits for each answer, so whatever comes next belongs to the last."""
    losing = threading.Event()
    threading.Thread(target=_answers, args=(near, far, network, losing), daemon=True).start()
    with suppress(OSError):
        while sent := near.recv(CHUNK):
            if network.wants(sent):
                losing.set()
            far.sendall(sent)
    _hang_up(near, far)


def _answers(near: socket.socket, far: socket.socket, network: Network, losing: threading.Event) -> None:
    with suppress(OSError):
        while heard := far.recv(CHUNK):
            if losing.is_set():
                network.done()
                break
            near.sendall(heard)
    _hang_up(near, far)


def _hang_up(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
