"""What a customer's life is drawn from: small amounts that meet each other, and now and then the largest there are."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import strategies as st

BIGGEST = Decimal("9999999999.99999")
POSITIVE = (
    st.integers(1, 60).map(Decimal) | st.decimals("0.00001", "60", places=5) | st.sampled_from([BIGGEST, Decimal(10)])
)
SIGNED = st.builds(lambda amount, sign: amount * sign, POSITIVE, st.sampled_from([1, -1])) | st.just(Decimal(0))
MAYBE = st.none() | POSITIVE
WHO = st.integers(0, 9)
NAMED = st.sampled_from(["{0.id}", "id:{0.id}", "{0.username}", "username:{0.username}"])
NUMBERED = st.integers(0, 60)
MANNER = st.fixed_dictionaries(
    {
        "key": st.none() | NUMBERED,
        "match": st.sampled_from([None] * 5 + ["fresh", "fresh", "stale", "*"]),
        "reference": st.none() | st.none() | st.integers(0, 15),
    }
)
CID = st.integers(1, 6).map("08000000{:02}".format)
BULK = st.lists(
    st.tuples(st.sampled_from(["set", "add", "add", "status", "strange", "foreign"]), WHO, SIGNED, st.booleans()),
    min_size=1,
    max_size=5,
)
