"""A file of separated values, record by record: what can't be read is named by its line, and the rest goes on.

Python's csv module alone would not do: one quote that is never closed makes it take all that follows for one text. Here
a text in quotes goes on for a few lines at most; where that leads to nothing, only the line it began in is lost.
"""

from __future__ import annotations

import codecs
import csv
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import IO

from service.errors import Invalid

LONGEST_LINE = 65_536  # bytes
MOST_LINES = 20  # of one record
_BOM = codecs.BOM_UTF8


@dataclass(frozen=True, slots=True)
class Record:
    """The values of a record, or why it has none. Its lines count from 1; `ended`: there was a line end behind it."""

    first: int
    last: int
    values: list[str] | Invalid
    ended: bool = True


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    text: str | Invalid
    ended: bool = True


def check_encoding(name: str) -> None:
    """Raises Invalid for an encoding that nobody knows, or in which lines can't be told apart by their bytes."""
    try:
        told_apart = "\n,".encode(name).removeprefix(_BOM) == b"\n,"
    except (LookupError, UnicodeError, ValueError):
        raise Invalid(f"there is no text encoding '{name}'") from None
    if not told_apart:
        raise Invalid(f"the encoding '{name}' is not supported: convert the file to utf-8 first")


def records(stream: IO[bytes], *, delimiter: str = ",", encoding: str = "utf-8") -> Iterator[Record]:
    """The records of a file; empty lines are none. Raises Invalid where the file itself can't be read any further."""
    ahead = _Ahead(_lines(stream, encoding))
    while (line := ahead.take()) is not None:
        if isinstance(line.text, Invalid):
            yield Record(line.number, line.number, line.text, line.ended)
        elif line.text.strip():
            yield _record(line, line.text, ahead, delimiter)


def _record(line: _Line, text: str, ahead: _Ahead, delimiter: str) -> Record:
    more: list[_Line] = []
    try:
        values = next(csv.reader(chain([text], ahead.peek(more)), delimiter=delimiter, strict=True))
    except (csv.Error, StopIteration) as error:
        return Record(line.number, line.number, Invalid(f"cannot be read as CSV: {error}"), line.ended)
    for _ in more:
        ahead.take()
    last = more[-1] if more else line
    return Record(line.number, last.number, values, last.ended)


@dataclass(slots=True)
class _Ahead:
    """Lines that can be looked at before they are taken."""

    lines: Iterator[_Line]
    waiting: deque[_Line] = field(default_factory=deque)

    def take(self) -> _Line | None:
        return self.waiting.popleft() if self.waiting else next(self.lines, None)

    def peek(self, seen: list[_Line]) -> Iterator[str]:
        """The texts of the next lines, noting each that was asked for; they end with one that can't be read."""
        for place in range(MOST_LINES - 1):
            if place == len(self.waiting):
                line = next(self.lines, None)
                if line is None:
                    return
                self.waiting.append(line)
            line = self.waiting[place]
            if isinstance(line.text, Invalid):
                return
            seen.append(line)
            yield line.text


def _lines(stream: IO[bytes], encoding: str) -> Iterator[_Line]:
    number = 0
    while raw := _read(stream, number):
        number += 1
        ended = raw.endswith(b"\n")
        if not ended and len(raw) > LONGEST_LINE:
            ended = _skip(stream, number)
            yield _Line(number, Invalid(f"is longer than {LONGEST_LINE} bytes"), ended)
        else:
            yield _Line(number, _decode(raw.removeprefix(_BOM) if number == 1 else raw, encoding), ended)


def _read(stream: IO[bytes], number: int) -> bytes:
    try:
        return stream.readline(LONGEST_LINE + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise Invalid(f"the file cannot be read beyond line {number}: {error}") from None


def _skip(stream: IO[bytes], number: int) -> bool:
    """Read to the end of a line; whether it has one."""
    while raw := _read(stream, number):
        if raw.endswith(b"\n"):
            return True
    return False


def _decode(raw: bytes, encoding: str) -> str | Invalid:
    try:
        text = raw.decode(encoding)
    except UnicodeError as error:
        where = f" (byte {error.start + 1})" if isinstance(error, UnicodeDecodeError) else ""
        return Invalid(f"is not {encoding}{where}: say --encoding")
    return Invalid("holds a NUL character") if "\0" in text else text
