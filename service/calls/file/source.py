"""Where the bytes of a file come from: a path or standard input, packed by gzip or not."""

from __future__ import annotations

import gzip
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, cast

from service.errors import Invalid

STANDARD_INPUT = "-"
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Source:
    """The unpacked bytes; how many there are in the file, packed (None: nobody knows), and how many are read so far."""

    stream: IO[bytes]
    size: int | None
    position: Callable[[], int]


@contextmanager
def opened(path: str, standard_input: IO[bytes]) -> Iterator[Source]:
    """A file to read from, for as long as the block lasts. Raises Invalid where it can't be opened."""
    if path == STANDARD_INPUT:
        yield _source(standard_input)
        return
    try:
        file = open(path, "rb")  # noqa: SIM115  closed below; what the block raises is not about opening it
    except (OSError, ValueError) as error:
        raise Invalid(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    with file:
        yield _source(file)


def _source(file: IO[bytes]) -> Source:
    size = _size(file)
    position = file.tell if size is not None else lambda: 0
    packed = file.peek(len(_GZIP))[: len(_GZIP)] == _GZIP if hasattr(file, "peek") else False
    return Source(cast(IO[bytes], gzip.GzipFile(fileobj=file)) if packed else file, size, position)


def _size(file: IO[bytes]) -> int | None:
    try:
        status = os.fstat(file.fileno())
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
