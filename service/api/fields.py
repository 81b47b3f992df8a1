"""The kinds of value that the API takes. Each refuses what it can't take exactly, and says what it wants instead."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import Any

from marshmallow import ValidationError, fields

from service.api.context import services
from service.calls.period import read_moment
from service.ledger.event import STATUS_BY_NAME, Status

CREDIT_DIGITS = 10
CREDIT_DECIMALS = 5
_WHOLE = re.compile(r"\d{1,18}", re.ASCII)
_UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")  # control characters, halves of characters


class Credit(fields.Field[Decimal]):
    """An amount of credit: a JSON number, at most 10 digits before the point and 5 after."""

    default_error_messages = {  # noqa: RUF012
        "required": "is required",
        "null": "must be a number",
        "invalid": "must be a number",
        "digits": f"at most {CREDIT_DIGITS} digits before the point and {CREDIT_DECIMALS} after",
    }

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Decimal:
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise self.make_error("invalid")
        amount = Decimal(value)
        exponent = amount.as_tuple().exponent  # looked at, not computed with: 1e999999999 must not be multiplied out
        if not isinstance(exponent, int) or exponent < -CREDIT_DECIMALS:
            raise self.make_error("digits")
        if amount and amount.adjusted() >= CREDIT_DIGITS:
            raise self.make_error("digits")
        return amount if amount else Decimal(0)


class QueryCredit(Credit):
    """The same, spelled out in a query."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Decimal:
        if not isinstance(value, str) or not re.fullmatch(r"-?\d{1,20}(\.\d{1,20})?", value, re.ASCII):
            raise self.make_error("invalid")
        return super()._deserialize(Decimal(value), *args, **kwargs)


class Whole(fields.Field[int]):
    """A whole number in a query, from `minimum` to `maximum`."""

    def __init__(self, minimum: int, maximum: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.minimum, self.maximum = minimum, maximum
        self.metadata = {**self.metadata, "minimum": minimum, "maximum": maximum}

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        if _WHOLE.fullmatch(value) and self.minimum <= int(value) <= self.maximum:
            return int(value)
        raise ValidationError(f"must be a whole number from {self.minimum} to {self.maximum}")


class PlainText(fields.Field[str]):
    """A text without control characters, at most `longest` characters."""

    default_error_messages = {"required": "is required", "null": "must be a text"}  # noqa: RUF012

    def __init__(self, longest: int, *, shortest: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.longest, self.shortest = longest, shortest
        self.metadata = {**self.metadata, "maxLength": longest, "minLength": shortest}

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError("must be a text")
        if not self.shortest <= len(value) <= self.longest:
            at_least = f"at least {self.shortest} and " if self.shortest else ""
            raise ValidationError(f"must have {at_least}at most {self.longest} characters")
        if _UNFIT.search(value):
            raise ValidationError("must not hold control characters")
        return value


class StatusName(fields.Field[Status]):
    """One of the four statuses that can be asked for."""

    default_error_messages = {  # noqa: RUF012
        "required": "is required",
        "null": f"must be one of {', '.join(STATUS_BY_NAME)}",
        "invalid": f"must be one of {', '.join(STATUS_BY_NAME)}",
    }

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.metadata = {**self.metadata, "enum": list(STATUS_BY_NAME)}

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Status:
        if not isinstance(value, str) or value not in STATUS_BY_NAME:
            raise self.make_error("invalid")
        return STATUS_BY_NAME[value]


class StatusFilter(fields.Field[Status]):
    """A status to look for: one of the four names, or a code from 0 to 8."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Status:
        if value in STATUS_BY_NAME:
            return STATUS_BY_NAME[value]
        if value in {str(int(status)) for status in Status}:
            return Status(int(value))
        raise ValidationError(f"must be one of {', '.join(STATUS_BY_NAME)}, or a code from 0 to 8")


class Moment(fields.Field[datetime]):
    """A moment in a query: `YYYY-MM-DD HH:MM:SS` in the configured TIMEZONE, or RFC 3339."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> datetime:
        try:
            return read_moment(value, services().config.timezone)
        except ValueError as error:
            raise ValidationError(str(error)) from None
