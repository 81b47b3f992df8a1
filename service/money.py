"""Money as text: exact, never by way of a float."""

from __future__ import annotations

from decimal import Decimal


def as_json(amount: Decimal) -> str:
    """The JSON number of an amount: a whole one as an integer, no zeros behind, no exponent.

    >>> as_json(Decimal("12343.00000")), as_json(Decimal("0.30000")), as_json(Decimal("-0.00001"))
    ('12343', '0.3', '-0.00001')
    """
    text = f"{amount:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text
