"""Choosing a TCP port on loopback."""

import random
import socket

LOOPBACK = "127.0.0.1"

BELOW_EPHEMERAL = range(15_000, 32_000)
"""Where to look: under the range from which Linux (32768 up) and macOS (49152 up) take the ports of outgoing
connections. `bind(0)` would choose inside it, and then a client that retries against a stopped server can be
given the server's own port, connect to itself, and keep the server from coming back."""


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now; connections of a former one in TIME_WAIT don't count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port nobody listens on now. Somebody may in the next moment: be ready to ask again.

    The system's randomness is used because test tools seed Python's, and parallel runs would all ask for the
    same.
    """
    choices = iter(lambda: random.SystemRandom().choice(BELOW_EPHEMERAL), None)
    return next(port for port in choices if is_free(port))
