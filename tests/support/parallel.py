"""Several callers at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def at_once(*work: Callable[[], T]) -> list[T]:
    """Do all of it in threads that begin together; what each came to, in order."""
    start = threading.Barrier(len(work))

    def begin(one: Callable[[], T]) -> T:
        start.wait()
        return one()

    with ThreadPoolExecutor(len(work)) as pool:
        return list(pool.map(begin, work))
