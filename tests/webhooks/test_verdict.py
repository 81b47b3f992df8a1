import pytest

from service.webhooks.record import Fate, fate
from service.webhooks.schedule import MAX_ATTEMPTS
from service.webhooks.verdict import CutShort, Delivered, Failure, Permanent, Retryable, judge


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_delivered(status):
    assert judge(status) == Delivered(status)


@pytest.mark.parametrize("status", [300, 301, 302, 304, 307, 308])
def test_a_redirect_is_tried_again_and_not_followed(status):
    assert judge(status) == Retryable(Failure.REDIRECT, status)


@pytest.mark.parametrize("status", [400, 401, 404, 409, 411, 429, 500, 502, 503, 504, 599, 999])
def test_any_other_answer_is_tried_again(status):
    assert judge(status) == Retryable(Failure.STATUS, status)


def test_gone_is_for_good():
    assert judge(410) == Permanent(Failure.GONE, 410)
    assert fate(judge(410), 1, 0.5) == Fate("failed", "failed")


def test_a_retryable_failure_waits_its_turn_behind_first_attempts():
    assert fate(Retryable(Failure.TIMEOUT), 1, 0.5) == Fate("retry", "pending", after=5, priority=1)


def test_an_endpoint_that_says_when_is_not_tried_before():
    assert fate(Retryable(Failure.STATUS, 503, wait=60.0), 1, 0.5).after == 60
    assert fate(Retryable(Failure.STATUS, 503, wait=2.0), 1, 0.5).after == 5
    assert fate(Retryable(Failure.STATUS, 503, wait=2.0), MAX_ATTEMPTS, 0.5) == Fate("failed", "failed")


def test_a_2xx_with_a_book_for_an_answer_is_tried_again():
    assert judge(200, too_large=True) == Retryable(Failure.TOO_LARGE, 200)


def test_the_last_failure_is_final():
    assert fate(Retryable(Failure.TIMEOUT), MAX_ATTEMPTS, 0.5) == Fate("failed", "failed")


def test_what_we_cut_short_ourselves_is_due_at_once_but_not_for_ever():
    assert fate(CutShort(), 1, 0.5) == Fate("abandoned", "pending", after=0, priority=0)
    assert fate(CutShort(), MAX_ATTEMPTS, 0.5) == Fate("abandoned", "failed")
