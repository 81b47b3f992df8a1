"""Lists that are read from a place on: one page as JSON, or all of it as CSV.

CSV is for spreadsheets and exports. It is written while it is read, some rows at a time and no transaction open in
between: neither the process nor the database holds more than one page, however long the list is. Should the database
go away in the middle, the transfer breaks off without its end, which HTTP clients report; it never looks complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from typing import Any, Generic, TypeVar

from flask import Response, request

from service import sheet
from service.api.answer import answer
from service.api.exact_json import dumps
from service.api.schemas.shared import DEFAULT_LIMIT
from service.ledger.statement import Page

CSV = "text/csv"
CHUNK = 1_000  # rows that an export reads and holds at a time

# What the document says of a route that answers in CSV as well: `@blueprint.alt_response(200, **CSV_TOO)`.
VARY: dict[str, Any] = {"Vary": {"description": "`Accept`.", "schema": {"type": "string"}}}
CSV_TOO: dict[str, Any] = {
    "content_type": CSV,
    "schema": {
        "type": "string",
        "description": "The fields of a row as columns, with a header line. A text that begins like a formula is led "
        "by an apostrophe.",
    },
}

Row = TypeVar("Row")
Place = TypeVar("Place")


@dataclass(frozen=True)  # without slots: Python 3.11 can't make a frozen generic with slots by Listing[…](…)
class Listing(Generic[Row, Place]):
    """A list that can be read from a place on.

    `read` takes the place to begin after and a number of rows; `dump` makes of a row what the answer holds, by
    `columns`; `cursor` writes a place down; `filename` is what an export is called.
    """

    read: Callable[[Place | None, int], Page[Row, Place]]
    dump: Callable[[Row], dict[str, Any]]
    cursor: Callable[[Place], str]
    columns: Sequence[str]
    filename: str

    def answer(self, after: Place | None, limit: int | None) -> Response:
        """What the caller accepts: a page (of DEFAULT_LIMIT rows unless it says), or CSV of `limit` rows or of all."""
        response = self._csv(after, limit) if wants_csv() else self._json(after, limit or DEFAULT_LIMIT)
        response.vary.add("Accept")
        return response

    def _json(self, after: Place | None, limit: int) -> Response:
        page = self.read(after, limit)
        following = None if page.next is None else self.cursor(page.next)
        return answer({"data": [self.dump(row) for row in page.rows], "next": following})

    def _csv(self, after: Place | None, limit: int | None) -> Response:
        chunks = self._chunks(after, limit)
        first = next(chunks)  # read before the answer begins: a database that is away still makes a 503
        response = Response(_lines(self.columns, chain([first], chunks)), content_type=f"{CSV}; charset=utf-8")
        response.headers["Content-Disposition"] = f'attachment; filename="{self.filename}"'
        return response

    def _chunks(self, after: Place | None, limit: int | None) -> Iterator[list[dict[str, Any]]]:
        left = limit
        while True:
            page = self.read(after, CHUNK if left is None else left)
            yield [self.dump(row) for row in page.rows]
            left = None if left is None else left - len(page.rows)
            after = page.next
            if after is None or left == 0:
                return


def wants_csv() -> bool:
    """Whether the caller would rather have CSV than JSON, which is what it gets where it does not care."""
    return _quality(CSV) > _quality("application/json")


def _quality(media_type: str) -> float:
    """How welcome a media type is, from 0 to 1: what the most specific range says that holds it (RFC 9110, 12.5.1)."""
    ranges = {media_type, f"{media_type.partition('/')[0]}/*", "*/*"}
    given = request.accept_mimetypes  # the most specific first; parameters such as charset make no difference here
    return next((quality for value, quality in given if value.partition(";")[0].strip().lower() in ranges), 0)


def cell(value: Any) -> str:
    """A value of an answer as a cell: as `sheet.cell`, and whatever else as JSON.

    >>> cell(Decimal("-0.50000")), cell(None), cell("=1+1"), cell({"cid": "0899"})
    ('-0.5', '', "'=1+1", '{"cid":"0899"}')
    """
    return sheet.cell(value) if value is None or isinstance(value, str | Decimal) else dumps(value).decode()


def _lines(columns: Sequence[str], chunks: Iterable[list[dict[str, Any]]]) -> Iterator[bytes]:
    """The header and the rows, a chunk at a time."""
    header = [columns]
    for rows in chunks:
        yield sheet.lines(chain(header, ([cell(row[column]) for column in columns] for row in rows))).encode()
        header = []
