"""What a call costs by its rate, or as it is written: exact."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.calls.file.price import Rate, read_amount
from service.errors import Invalid

MONEY = st.decimals(0, 10**6, places=5)
SECONDS = st.integers(0, 31 * 86_400)


@pytest.mark.parametrize(
    ("rate", "duration", "price"),
    [
        (Rate(Decimal("1200.5")), 0, "0"),
        (Rate(Decimal("1200.5")), 1, "1200.5"),
        (Rate(Decimal("1200.5")), 60, "1200.5"),
        (Rate(Decimal("1200.5")), 61, "2401"),
        (Rate(Decimal("1200.5"), increment=6), 7, "240.1"),
        (Rate(Decimal(100), increment=1), 1, "1.66667"),
        (Rate(Decimal("0.00003"), increment=1), 10, "0.00001"),  # 0.000005: half goes up
        (Rate(Decimal("0.00003"), increment=1), 9, "0"),
        (Rate(Decimal(60), increment=6, minimum=30), 1, "30"),
        (Rate(Decimal(60), increment=6, minimum=30), 31, "36"),
        (Rate(Decimal(60), increment=60, minimum=30), 1, "60"),
        (Rate(Decimal(60), minimum=30), 0, "0"),
    ],
)
def test_a_rate_is_charged_for_whole_increments(rate, duration, price):
    assert rate.price(duration) == Decimal(price)


@given(MONEY, SECONDS, st.integers(1, 600), st.integers(0, 600))
def test_a_price_is_the_exact_one_rounded_half_up_to_five_decimals(per_minute, duration, increment, minimum):
    rate = Rate(per_minute, increment, minimum)
    billed = rate.billed(duration)
    assert billed % increment == 0
    assert billed == 0 if duration == 0 else 0 <= billed - max(duration, minimum) < increment
    exact = Fraction(per_minute) * billed / 60
    price = rate.price(duration)
    assert price.as_tuple().exponent == -5
    assert Fraction(price) - exact <= Fraction(1, 200_000)
    assert exact - Fraction(price) < Fraction(1, 200_000)


@given(MONEY, SECONDS, SECONDS, st.integers(1, 600))
def test_a_longer_call_never_costs_less(per_minute, one, other, increment):
    rate = Rate(per_minute, increment)
    assert rate.price(min(one, other)) <= rate.price(max(one, other))


def test_a_price_that_no_balance_can_hold_is_refused():
    with pytest.raises(Invalid, match="10 digits"):
        Rate(Decimal(10**9), increment=1).price(600)


@given(st.decimals(0, Decimal("9999999999.99999"), places=5))
def test_an_amount_is_read_digit_by_digit(amount):
    assert read_amount(f"{amount:f}") == amount
    assert read_amount(f"00{amount:f}000") == amount


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is missing"),
        ("12,5", "has a comma"),
        ("1,234.50", "has a comma"),
        ("-1", "must not be negative"),
        ("-0.00", "must not be negative"),
        ("1e3", "must be a number"),
        (".5", "must be a number"),
        ("5.", "must be a number"),
        ("+5", "must be a number"),
        ("1 000", "must be a number"),
        ("NaN", "must be a number"),
        ("Infinity", "must be a number"),
        ("٣", "must be a number"),
        ("0.000001", "more than 5 decimals"),
        ("12345678901", "more than 10 digits"),
        ("9" * 31, "must be a number"),
    ],
)
def test_what_is_no_amount_is_refused_with_a_reason(text, reason):
    with pytest.raises(Invalid, match=f"^amount: .*{reason}"):
        read_amount(text)
