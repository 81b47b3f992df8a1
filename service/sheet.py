"""CSV for spreadsheets: cells that no spreadsheet would carry out, and lines (RFC 4180)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from decimal import Decimal

from service.money import as_json

# How a text begins that a spreadsheet would take for a formula and carry out (OWASP, CSV injection); the full-width
# forms are what some input methods make of the first four.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

Value = str | int | Decimal | None


def cell(value: Value) -> str:
    """A value as a cell: money digit by digit, nothing for None, and no text that a spreadsheet would carry out.

    >>> cell(Decimal("-0.50000")), cell(None), cell("=1+1"), cell(42)
    ('-0.5', '', "'=1+1", '42')
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return as_json(value) if isinstance(value, Decimal) else str(value)


def lines(rows: Iterable[Iterable[str]]) -> str:
    """Rows of cells as lines of CSV."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue()
