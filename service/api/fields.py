"""The kinds of value that the API takes. Each refuses what it can't take exactly, and says what it wants instead."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar

from marshmallow import ValidationError, fields

from service.api.context import services
from service.api.reference import UNFIT_FOR_PATHS
from service.calls.period import read_moment
from service.ledger.event import BIGGEST, STATUS_BY_NAME, Status

CREDIT_DIGITS = 10
CREDIT_DECIMALS = 5
_WHOLE = re.compile(r"\d{1,18}", re.ASCII)
_ID = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
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


class Amount(Credit):
    """An amount of credit that is more than 0; or not less, with `zero`."""

    def __init__(self, *, zero: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.zero = zero

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Decimal:
        amount = super()._deserialize(value, *args, **kwargs)
        if amount < 0 or (amount == 0 and not self.zero):
            raise ValidationError("must not be negative" if self.zero else "must be more than 0")
        return amount


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


class WholeNumber(fields.Field[int]):
    """A whole number in a body, from `minimum` to `maximum`: a JSON number without a fraction."""

    default_error_messages = {"required": "is required", "null": "must be a whole number"}  # noqa: RUF012

    def __init__(self, minimum: int, maximum: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.minimum, self.maximum = minimum, maximum
        self.metadata = {**self.metadata, "minimum": minimum, "maximum": maximum}

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not self.minimum <= value <= self.maximum:
            raise ValidationError(f"must be a whole number from {self.minimum} to {self.maximum}")
        return value


class CustomerId(fields.Field[int]):
    """A customer's id: the string of digits that the answers show, or the same as a number."""

    default_error_messages = {"required": "is required", "null": "must be a customer's id"}  # noqa: RUF012

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(text, str) or not _ID.fullmatch(text) or int(text) >= BIGGEST:
            raise ValidationError("must be a customer's id")
        return int(text)


class TrueOrFalse(fields.Field[bool]):
    """JSON's own yes and no, and nothing that only looks like one of them."""

    default_error_messages = {"null": "must be true or false"}  # noqa: RUF012

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("must be true or false")
        return value


class QueryFlag(fields.Field[bool]):
    """The same, spelled out in a query."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.metadata = {**self.metadata, "enum": ["true", "false"]}

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bool:
        if value not in ("true", "false"):
            raise ValidationError("must be true or false")
        return bool(value == "true")


Choice = TypeVar("Choice", bound=StrEnum)


class OneOf(fields.Field[Choice]):
    """One of some words."""

    def __init__(self, words: type[Choice], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.words = words
        self.metadata = {**self.metadata, "enum": [*words]}

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Choice:
        if not isinstance(value, str) or value not in set(self.words):
            raise ValidationError(f"must be one of {', '.join(self.words)}")
        return self.words(value)


class Flag(fields.Field[bool]):
    """A2Billing's way to say yes and no: `t` or `f`."""

    default_error_messages = {"null": "must be t or f"}  # noqa: RUF012

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.metadata = {**self.metadata, "enum": ["t", "f"]}

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bool:
        if value not in ("t", "f"):
            raise ValidationError("must be t or f")
        return bool(value == "t")


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


class Digits(fields.Field[str]):
    """A text of exactly so many digits."""

    default_error_messages = {"required": "is required", "null": "must be a text"}  # noqa: RUF012

    def __init__(self, length: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.length = length
        self.metadata = {**self.metadata, "pattern": rf"^[0-9]{{{length}}}$"}

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(rf"[0-9]{{{self.length}}}", value):
            raise ValidationError(f"must be {self.length} digits")
        return value


class CallerIdText(PlainText):
    """A caller id: any text that can stand in a path afterwards."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, *args, **kwargs)
        if UNFIT_FOR_PATHS.search(text) or "/" in text:
            raise ValidationError("must not hold control characters or a slash")
        return text


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
    """A moment: `YYYY-MM-DD HH:MM:SS` in the configured TIMEZONE, or RFC 3339."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> datetime:
        if not isinstance(value, str):
            raise ValidationError("must be a moment, such as 2030-01-31 00:00:00")
        try:
            return read_moment(value, services().config.timezone)
        except ValueError as error:
            raise ValidationError(str(error)) from None
