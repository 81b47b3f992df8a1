"""Which column of a file holds which part of a call: Asterisk's `Master.csv`, or what a mapping says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.errors import Invalid

NAMES = ("uniqueid", "leg", "source", "destination", "start_time", "end_time", "duration", "amount", "customer",
         "disposition")  # fmt: skip

# cdr_csv's own columns. Without `loguniqueid` and `loguserfield` there are 16; `newcdrcolumns` adds 3 behind them.
CDR_CSV = ("accountcode", "src", "dst", "dcontext", "clid", "channel", "dstchannel", "lastapp", "lastdata", "start",
           "answer", "end", "duration", "billsec", "disposition", "amaflags", "uniqueid", "userfield")  # fmt: skip
_MASTER_FEWEST, _MASTER_MOST = 16, 21
_MASTER_NO_UNIQUEID = frozenset({16, 19})  # what stands in its place, if anything, is one of the 3
_MASTER = {
    "uniqueid": "uniqueid",
    "source": "src",
    "destination": "dst",
    "start_time": "start",
    "end_time": "end",
    "duration": "billsec",
    "disposition": "disposition",
}
# `duration` is the last resort: in cdr_csv's words it counts the ringing too.
_IN_HEADERS = {
    "uniqueid": ("uniqueid",),
    "leg": ("leg",),
    "source": ("src", "source"),
    "destination": ("dst", "destination"),
    "start_time": ("start", "start_time", "calldate"),
    "end_time": ("end", "end_time"),
    "duration": ("billsec", "duration"),
    "disposition": ("disposition",),
}
_CORE = ("source", "destination", "start_time")
MOST_COLUMNS = 1_000  # nobody has more; a number beyond it is a mistake
_DIGITS = len(str(MOST_COLUMNS))


@dataclass(frozen=True, slots=True)
class Layout:
    """Columns, counted from 0, by the parts of a call; how many a line has to have at least, and at most.

    `no_uniqueid`: the widths of lines that have none. `whole_lines`: the writer ends each line, so one without an end
    is not whole.
    """

    columns: Mapping[str, int]
    fewest: int
    most: int | None = None
    no_uniqueid: frozenset[int] = frozenset()
    whole_lines: bool = False

    def check_width(self, values: Sequence[str]) -> None:
        """Raises Invalid for a line with too few columns, or too many."""
        if len(values) < self.fewest:
            raise Invalid(f"has {_columns(len(values))} and needs {self.fewest}")
        if self.most is not None and len(values) > self.most:
            raise Invalid(f"has {_columns(len(values))}, more than the {self.most} that there are")

    def value(self, values: Sequence[str], name: str) -> str | None:
        """A part of a call as a line has it; None where it has no such column."""
        column = self.columns.get(name)
        if column is None or (name == "uniqueid" and len(values) in self.no_uniqueid):
            return None
        return values[column]


def read_mapping(pairs: Sequence[str]) -> dict[str, str]:
    """`NAME=COLUMN` pairs; an empty column says that the file has none. Raises Invalid for what is no name of ours."""
    mapping: dict[str, str] = {}
    for pair in pairs:
        name, equals, column = (part.strip() for part in pair.partition("="))
        if not equals or name not in NAMES:
            raise Invalid(f"--map {pair}: must be NAME=COLUMN, with a NAME of {', '.join(NAMES)}")
        if name in mapping:
            raise Invalid(f"--map {name}: is given twice")
        mapping[name] = column
    return mapping


def needs_header(mapping: Mapping[str, str]) -> bool:
    """Whether a mapping names columns that are neither numbers nor cdr_csv's."""
    return any(column and not column.isdecimal() and column not in CDR_CSV for column in mapping.values())


def layout_by_place(mapping: Mapping[str, str]) -> Layout:
    """The layout of a file without a header line. Raises Invalid.

    It is cdr_csv's, but for what is mapped. Where source, destination and start_time are all mapped, nothing else is
    taken from where cdr_csv would have it.
    """
    if all(mapping.get(name) for name in _CORE):
        return _own({name: _place(name, column) for name, column in mapping.items() if column})
    chosen = {**_MASTER, **mapping}
    columns = {name: _place(name, column) for name, column in chosen.items() if column}
    _check(columns)
    fewest = max([_MASTER_FEWEST, *(column + 1 for name, column in columns.items() if name in mapping)])
    return Layout(
        columns,
        fewest,
        max(_MASTER_MOST, fewest),
        frozenset() if mapping.get("uniqueid") else _MASTER_NO_UNIQUEID,
        whole_lines=True,
    )


def layout_by_header(mapping: Mapping[str, str], header: Sequence[str]) -> Layout:
    """The layout of a file whose first line is `header`: what is mapped, else by usual names. Raises Invalid."""
    names = [name.strip().casefold() for name in header]
    columns = {name: _in_header(name, column, names, header) for name, column in mapping.items() if column}
    for name, usual in _IN_HEADERS.items():
        if name not in mapping and (found := next((each for each in usual if each in names), None)) is not None:
            columns[name] = _in_header(name, found, names, header)
    return _own(columns, len(header), header)


def _own(columns: dict[str, int], most: int | None = None, header: Sequence[str] = ()) -> Layout:
    _check(columns, f"; the columns are {', '.join(header)}" if header else "")
    return Layout(columns, 1 + max(columns.values()), most)


def _check(columns: Mapping[str, int], told: str = "") -> None:
    for name in _CORE:
        if name not in columns:
            raise Invalid(f"no column for {name}: say --map {name}=COLUMN{told}")
    if not columns.keys() & {"duration", "end_time"}:
        raise Invalid(f"no column for duration or end_time: say --map duration=COLUMN{told}")


def _place(name: str, column: str) -> int:
    if column.isdecimal():
        return _number(name, column)
    if column in CDR_CSV:
        return CDR_CSV.index(column)
    raise Invalid(f"--map {name}={column}: there is no such column in cdr_csv's layout")


def _in_header(name: str, column: str, names: Sequence[str], header: Sequence[str]) -> int:
    found = names.count(column.casefold())
    if found > 1:
        raise Invalid(f"{name}: the header has {found} columns '{column}': say --map {name}=NUMBER")
    if found:
        return names.index(column.casefold())
    if column.isdecimal() and (place := _number(name, column)) < len(names):
        return place
    raise Invalid(f"--map {name}={column}: there is no such column; the columns are {', '.join(header)}")


def _number(name: str, column: str) -> int:
    if not column.isascii() or len(column) > _DIGITS or not 1 <= int(column) <= MOST_COLUMNS:
        raise Invalid(f"--map {name}={column}: columns count from 1 to {MOST_COLUMNS}")
    return int(column) - 1


def _columns(count: int) -> str:
    return "1 column" if count == 1 else f"{count} columns"
