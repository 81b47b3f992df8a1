"""A file of calls, line by line: each is a call, or a reason why it can't be one. Any length, in little memory."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import IO
from zoneinfo import ZoneInfo

from service import clock
from service.calls.call import (
    DISPOSITION_LENGTH,
    LONGEST_SECONDS,
    MAX_LEG,
    NUMBER_LENGTH,
    REF_LENGTH,
    UNIQUEID_LENGTH,
    NewCall,
    new_call,
)
from service.calls.file.layout import Layout, layout_by_header, layout_by_place
from service.calls.file.lines import Record, records
from service.calls.file.price import Rate, read_amount
from service.calls.period import read_moment
from service.errors import Invalid

DERIVED = "csv-"  # how a uniqueid begins that was made from the line itself
_DERIVED_DIGITS = 40
_UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")  # control characters
_WHOLE = re.compile(r"\d{1,10}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Form:
    """How a file is to be read. `mapping` is of parts of a call to columns; `rate` None: amounts are a column.

    `customer_by` says what a customer's column holds (`id`, `username`, `caller_id`); None: any of them.
    """

    timezone: ZoneInfo
    mapping: dict[str, str]
    header: bool = False
    delimiter: str = ","
    encoding: str = "utf-8"
    rate: Rate | None = None
    customer_by: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A call, or why there is none, and the number of the (first) line it stands in."""

    number: int
    call: NewCall | Invalid


@dataclass(frozen=True, slots=True)
class CallFile:
    """The calls of a file, to be gone through once; `legs_given`: its lines say which leg they are."""

    lines: Iterator[Line]
    legs_given: bool = False


def read_calls(stream: IO[bytes], form: Form) -> CallFile:
    """The calls of a file. Raises Invalid, at once, where its columns aren't there; and where it can't be read on."""
    found = records(stream, delimiter=form.delimiter, encoding=form.encoding)
    if not form.header:
        layout = layout_by_place(form.mapping)
    elif (header := next(found, None)) is None:
        return CallFile(iter(()))
    elif isinstance(header.values, Invalid):
        raise Invalid(f"line {header.first}: {header.values.sentence}")
    else:
        layout = layout_by_header(form.mapping, header.values)
    return CallFile((Line(record.first, _call(record, layout, form)) for record in found), "leg" in layout.columns)


def _call(record: Record, layout: Layout, form: Form) -> NewCall | Invalid:
    try:
        return read_call(_values(record, layout), layout, form, clock.now())
    except Invalid as reason:
        if record.last > record.first:  # a quote that should not be there may have joined what are two calls
            return Invalid(f"{reason.sentence} (with all up to line {record.last})")
        return reason


def _values(record: Record, layout: Layout) -> list[str]:
    if isinstance(record.values, Invalid):
        raise record.values
    if layout.whole_lines and not record.ended:
        raise Invalid("is cut off: there is no line end behind it")
    return record.values


def read_call(values: Sequence[str], layout: Layout, form: Form, now: datetime) -> NewCall:
    """The call that the values of a line mean. Raises Invalid, naming the part."""
    layout.check_width(values)

    def part(name: str) -> str | None:
        return layout.value(values, name)

    start, end = _moments(part("start_time"), part("end_time"), form.timezone)
    call = new_call(
        uniqueid=_text("uniqueid", part("uniqueid"), UNIQUEID_LENGTH) or _derived(values),
        source=_text("source", part("source"), NUMBER_LENGTH),
        destination=_text("destination", part("destination"), NUMBER_LENGTH),
        start_time=start,
        end_time=end,
        duration=_number("duration", part("duration"), LONGEST_SECONDS),
        amount=Decimal(0) if form.rate else read_amount((part("amount") or "").strip()),
        leg=_number("leg", part("leg"), MAX_LEG) or 0,
        disposition=_text("disposition", part("disposition"), DISPOSITION_LENGTH),
        customer=_customer(part("customer"), form.customer_by),
        now=now,
    )
    return replace(call, amount=form.rate.price(call.duration)) if form.rate else call


def _derived(values: Sequence[str]) -> str:
    """A uniqueid for a line that has none: the same for the same values, however they were quoted."""
    digest = hashlib.sha256(json.dumps(list(values), ensure_ascii=False).encode()).hexdigest()
    return f"{DERIVED}{digest[:_DERIVED_DIGITS]}"


def _moments(start: str | None, end: str | None, timezone: ZoneInfo) -> tuple[datetime, datetime | None]:
    began = _named("start_time", lambda: read_moment((start or "").strip(), timezone))
    if not (end or "").strip():
        return began, None
    ended = _named("end_time", lambda: read_moment((end or "").strip(), timezone))
    if ended < began:  # in the hour that a zone's clocks show twice, it was the second one
        ended = max(ended, ended.astimezone(timezone).replace(fold=1).astimezone(UTC))
    return began, ended


def _named(name: str, read: Callable[[], datetime]) -> datetime:
    try:
        return read()
    except ValueError as error:
        raise Invalid(f"{name}: {error}") from None


def _text(name: str, value: str | None, longest: int) -> str:
    text = value or ""
    if len(text) > longest:
        raise Invalid(f"{name}: must have at most {longest} characters")
    if _UNFIT.search(text):
        raise Invalid(f"{name}: must not hold control characters")
    return text


def _number(name: str, value: str | None, most: int) -> int | None:
    """A whole number; None only where there is no such column."""
    if value is None:
        return None
    text = value.strip()
    if not _WHOLE.fullmatch(text) or int(text) > most:
        raise Invalid(f"{name}: must be a whole number from 0 to {most}")
    return int(text)


def _customer(value: str | None, customer_by: str | None) -> str | None:
    ref = _text("customer", (value or "").strip(), REF_LENGTH)
    return f"{customer_by}:{ref}" if ref and customer_by else ref or None
