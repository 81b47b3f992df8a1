"""A server in a process of its own that answers `100 Continue`, as fast as it can and without end; prints its port."""

from __future__ import annotations

import socket
import sys
import threading

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n" * 4000
BACKLOG = 100


def main() -> None:
    listening = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    print(listening.getsockname()[1], flush=True)  # noqa: T201  whoever started us reads it
    threading.Thread(target=_accept, args=(listening,), daemon=True).start()
    sys.stdin.read()  # until whoever started us has had enough


def _accept(listening: socket.socket) -> None:
    while True:
        caller, _ = listening.accept()
        threading.Thread(target=_flood, args=(caller,), daemon=True).start()


def _flood(caller: socket.socket) -> None:
    with caller:
        try:
            caller.recv(65_536)
            while True:
                caller.sendall(CONTINUE)
        except OSError:
            pass


if __name__ == "__main__":
    main()
