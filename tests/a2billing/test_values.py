"""The conversions, as pure functions."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from service.a2billing.convert import call_of, card_of
from service.a2billing.raw import RawCall, RawCard
from service.a2billing.text import clean_number, clean_text, repaired
from service.a2billing.values import (
    CENT,
    CREDIT_LIMIT,
    Unfit,
    exact_money,
    flag,
    moment_of,
    rounded_money,
    shortest,
    whole,
)

UTC_ZONE = ZoneInfo("UTC")
SAIGON = ZoneInfo("Asia/Ho_Chi_Minh")
BERLIN = ZoneInfo("Europe/Berlin")
# Text that nobody would take for text encoded twice: no bytes of it, read as cp1252, make UTF-8 by chance.
plain_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).filter(
    lambda text: repaired(text) == text
)


@given(plain_text)
def test_text_is_read_in_utf8_once_or_several_times_over(text):
    once = text.encode()
    twice = once.decode("latin-1").encode()
    assert clean_text(once) == text
    assert clean_text(twice) == text
    assert clean_text(twice.decode("latin-1").encode()) == text


@given(st.binary())
def test_any_bytes_are_some_text_without_nul(raw):
    assert "\0" not in clean_text(raw)
    clean_text(raw).encode()


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (None, ""), (b"", ""), ("Đại lý", "Đại lý"), (b"caf\xe9", "café"), (b"\x93hi\x94", "“hi”"),
        (b"a\x81b\xe9", "a\x81bé"), ("Ä", "Ä"), ("Nguyễn Văn Â", "Nguyễn Văn Â"),
    ],
)  # fmt: skip
def test_text_that_is_right_or_in_cp1252_is_left_so(raw, text):
    assert clean_text(raw) == text


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ('"Bob" <0123>', "0123"), ("Bob <+84 28-38>", "+842838"), ("+84 (28) 38-22", "+84283822"), ("0123", "0123"),
        ("", ""), ("<>", ""), ('"" <>', ""), ("02\u20118\u00a03", "0283"), ("anonymous", "anonymous"),
    ],
)  # fmt: skip
def test_a_caller_id_is_what_is_dialled(text, number):
    assert clean_number(text) == number


@given(st.text())
def test_cleaning_twice_is_cleaning_once(text):
    assert clean_number(clean_number(text)) == clean_number(text)


@given(st.decimals(-(10**10) + 1, 10**10 - 1, places=5))
def test_credit_of_five_decimals_is_taken_exactly(credit):
    assert exact_money(f"{credit:f}", "credit") == credit
    assert exact_money(f"{credit:f}000".encode(), "credit") == credit


@given(st.decimals(-1000, 1000, allow_nan=False, places=9))
def test_credit_is_never_rounded(credit):
    assume(credit != credit.quantize(CENT))
    with pytest.raises(Unfit, match="credit has more than 5 decimals"):
        exact_money(f"{credit:f}", "credit")


@pytest.mark.parametrize(
    ("raw", "why"),
    [("", "missing"), (None, "missing"), ("NaN", "no number"), ("Infinity", "no number"), ("1e400", "10 digits"),
     ("10000000000", "10 digits"), ("x", "no number")],
)  # fmt: skip
def test_what_is_no_credit_says_why(raw, why):
    with pytest.raises(Unfit, match=why):
        exact_money(raw, "credit")


@given(st.floats(-1e9, 1e9, allow_nan=False))
def test_a_float_is_rounded_half_up_to_five_decimals(value):
    assert rounded_money(repr(value), "bill") == Decimal(repr(value)).quantize(CENT, ROUND_HALF_UP)


@given(st.decimals(0, 99, places=4))
def test_what_was_written_into_a_float_of_single_precision_is_read_again(amount):
    (single,) = struct.unpack("f", struct.pack("f", float(amount)))
    assert rounded_money(single, "bill") == amount


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_the_shortest_text_still_means_the_same_single(single):
    assert struct.pack("f", float(shortest(single))) == struct.pack("f", single)


@given(st.one_of(st.none(), st.text(), st.binary(), st.floats()))
def test_whatever_a_bill_is_it_is_money_or_unfit(raw):
    try:
        amount = rounded_money(raw, "bill")
    except Unfit:
        return
    assert abs(amount) < CREDIT_LIMIT
    assert amount == amount.quantize(CENT)


@given(st.datetimes(datetime.fromisoformat("2000-01-01"), datetime.fromisoformat("2100-01-01")))
def test_a_moment_on_the_wall_is_read_in_its_zone(shown):
    assert moment_of(str(shown), SAIGON) == (shown - timedelta(hours=7)).replace(tzinfo=UTC)
    assert moment_of(str(shown).encode(), UTC_ZONE) == shown.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "raw",
    ["0000-00-00 00:00:00", "0000-00-00", "0001-01-01 00:00:00", "1970-01-01 01:00:00", "2021-02-30 00:00:00",
     "infinity", "2021-00-15", "", None, "0044-03-15 00:00:00 BC", "9999-12-31 23:59:59+00:00x", "1899-12-30"],
)  # fmt: skip
def test_a_moment_that_never_was_is_none(raw):
    assert moment_of(raw, SAIGON) is None


def test_a_moment_at_the_end_of_the_calendar_is_none_where_its_zone_has_none():
    assert moment_of("9999-12-31 23:59:59", ZoneInfo("America/New_York")) is None


def test_a_call_across_the_hour_that_comes_twice_does_not_end_before_it_began():
    row = RawCall(1, "u", "1", "2024-10-27 02:50:00", "2024-10-27 02:10:00", "1200")
    call = call_of(row, BERLIN)
    assert call.end_time - call.start_time == timedelta(minutes=20)


@pytest.mark.parametrize(
    ("raw", "value"), [("t", True), (b"1", True), ("true", True), ("f", False), ("0", False), ("maybe", None)]
)
def test_flags_of_all_versions(raw, value):
    assert flag(raw) is value


@pytest.mark.parametrize(("raw", "value"), [("7", 7), (b"-1", -1), ("3.0", 3), ("", None), (None, None)])
def test_whole_numbers(raw, value):
    assert whole(raw, "it") == value


@pytest.mark.parametrize("raw", ["1.5", "x", "2147483648", "9" * 40])
def test_what_is_no_whole_number_is_unfit(raw):
    with pytest.raises(Unfit):
        whole(raw, "it")


def card(**fields):
    return card_of(RawCard(**{"id": 1, "username": "u", "useralias": "a", "credit": "0", **fields}), UTC_ZONE)


@pytest.mark.parametrize(
    ("fields", "limit"),
    [({"typepaid": "0", "creditlimit": "0"}, None), ({"typepaid": "0", "creditlimit": "5"}, None),
     ({"typepaid": "1", "creditlimit": "0"}, 0), ({"typepaid": "1", "creditlimit": "50"}, 50), ({"typepaid": "1"}, 0)],
)  # fmt: skip
def test_a_limit_counts_for_postpaid_only(fields, limit):
    assert card(**fields).new.creditlimit == limit


@pytest.mark.parametrize(("raw", "threshold"), [("-1", None), ("0", 0), ("5", 5), (None, None)])
def test_minus_one_is_no_threshold(raw, threshold):
    assert card(credit_notification=raw).new.credit_notification == threshold


def test_rows_that_say_the_same_have_fingerprints_of_their_own():
    row = RawCall(1, "u", "1", "2024-01-01 00:00:00")
    assert call_of(row, UTC_ZONE).fingerprint() == call_of(row, UTC_ZONE).fingerprint()
    assert call_of(row, UTC_ZONE).fingerprint() != call_of(row._replace(id=2), UTC_ZONE).fingerprint()
    assert call_of(row, UTC_ZONE).fingerprint() != call_of(row._replace(sessionbill="1"), UTC_ZONE).fingerprint()
