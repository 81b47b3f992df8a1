"""What a call costs: an amount that somebody has written down, or a rate. Exact, never by way of a float."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from service.errors import Invalid

DIGITS, DECIMALS = 10, 5  # of credit, before and after the point
MINUTE = 60
_UNIT = 10**DECIMALS
_AMOUNT = re.compile(r"(\d{1,30})(?:\.(\d{1,30}))?", re.ASCII)
_TOO_LARGE = f"amount: has more than {DIGITS} digits before the point"


@dataclass(frozen=True, slots=True)
class Rate:
    """Credit units a minute, for `minimum` seconds at least, rounded up to whole increments (both in seconds)."""

    per_minute: Decimal
    increment: int = MINUTE
    minimum: int = 0

    def billed(self, duration: int) -> int:
        """The seconds that are charged for so many that were spoken; none for none."""
        if duration == 0:
            return 0
        return -(-max(duration, self.minimum) // self.increment) * self.increment

    def price(self, duration: int) -> Decimal:
        """The rate times the billed seconds, rounded half up to five decimals. Raises Invalid beyond ten digits.

        >>> Rate(Decimal("1200.5"), increment=6).price(7)
        Decimal('240.10000')
        """
        exact = Fraction(self.per_minute) * self.billed(duration) / MINUTE
        units = (exact * _UNIT * 2 + 1) // 2
        if units >= _UNIT * 10**DIGITS:
            raise Invalid(_TOO_LARGE)
        return Decimal(units).scaleb(-DECIMALS)


def read_amount(text: str) -> Decimal:
    """An amount of 0 or more as it is written, digit by digit; nothing is rounded. Raises Invalid.

    >>> read_amount("12.50")
    Decimal('12.50')
    """
    if not text:
        raise Invalid("amount: is missing")
    if "," in text:
        raise Invalid("amount: has a comma; write 1234.5, with a point and nothing between the digits")
    if text.startswith("-"):
        raise Invalid("amount: must not be negative")
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise Invalid("amount: must be a number such as 1234.5")
    if len(match[1].lstrip("0")) > DIGITS:
        raise Invalid(_TOO_LARGE)
    decimals = (match[2] or "").rstrip("0")
    if len(decimals) > DECIMALS:
        raise Invalid(f"amount: has more than {DECIMALS} decimals")
    return Decimal(f"{match[1]}.{decimals}" if decimals else match[1])
