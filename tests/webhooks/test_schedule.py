import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.webhooks.schedule import DELAYS, MAX_ATTEMPTS, delay

HOUR = 3600


def test_the_schedule_is_that_of_standard_webhooks():
    assert DELAYS == (0, 5, 300, 1800, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR)


@pytest.mark.parametrize("attempts", range(1, MAX_ATTEMPTS))
@given(draw=st.floats(0, 1))
def test_each_delay_is_the_schedules_give_or_take_a_fifth(attempts, draw):
    due = DELAYS[attempts]
    assert due * 0.8 <= delay(attempts, draw) <= due * 1.2 + 1e-6


def test_after_the_last_attempt_there_is_no_other():
    assert delay(MAX_ATTEMPTS, 0.5) is None
    assert delay(MAX_ATTEMPTS + 5, 0.5) is None
