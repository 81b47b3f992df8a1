"""The bulk endpoint, in events a second over HTTP, against pgbench calling the append function one by one."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import requests

from benchmarks.figures import Figure
from benchmarks.pgbench import appends_per_second
from benchmarks.stage import Stage

SENDERS = 4
COMMANDS = 1_000


def measure(stage: Stage, rounds: int, seconds: float) -> Iterator[Figure]:
    """Four senders of a thousand commands each, over fifty customers."""
    port = stage.start_web()
    token = stage.token(port)
    _events_per_second(port, token, 0.5)
    bulk, one_by_one = [], []
    for _ in range(rounds):
        one_by_one.append(appends_per_second(stage, seconds))
        bulk.append(_events_per_second(port, token, seconds))
    yield Figure("POST bulk / pgbench appends one by one", "/s", bulk, one_by_one, "≥ 2")


def _events_per_second(port: int, token: str, seconds: float) -> float:
    done: list[int] = []
    began = time.perf_counter()
    threads = [
        threading.Thread(target=_send, args=(port, token, began + seconds, done), daemon=True) for _ in range(SENDERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / (time.perf_counter() - began)


def _send(port: int, token: str, until: float, done: list[int]) -> None:
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {token}"
        while time.perf_counter() < until:
            commands = [
                {"type": "set", "customer": str(random.randint(1, 50)), "credit": random.randint(1, 9)}
                for _ in range(COMMANDS)
            ]
            answer = session.post(f"http://127.0.0.1:{port}/v1/ledger/bulk", json={"commands": commands}, timeout=60)
            answer.raise_for_status()
            done.append(answer.json()["succeeded"])
