import uuid

from service.webhooks.allot import Address
from service.webhooks.pace import STRANGER, Pace
from service.webhooks.verdict import CutShort, Delivered, Failure, Permanent, Retryable

ENDPOINT = Address(uuid.uuid4(), uuid.uuid4())


def test_a_stranger_begins_with_a_few_and_gains_one_with_each_delivery():
    pace = Pace(cap=20)
    assert pace.window(ENDPOINT) == STRANGER
    pace.ended(ENDPOINT, Delivered(200))
    assert pace.window(ENDPOINT) == STRANGER + 1


def test_nobody_gets_more_than_the_cap():
    pace = Pace(cap=3)
    assert pace.window(ENDPOINT) == 3
    pace.ended(ENDPOINT, Delivered(200))
    assert pace.window(ENDPOINT) == 3


def test_no_answer_halves_and_never_ends_at_nothing():
    pace = Pace(cap=20)
    for expected in (2, 1, 1):
        pace.ended(ENDPOINT, Retryable(Failure.TIMEOUT))
        assert pace.window(ENDPOINT) == expected


def test_an_answer_that_says_no_changes_nothing():
    pace = Pace(cap=20)
    pace.ended(ENDPOINT, Retryable(Failure.STATUS, 500))
    pace.ended(ENDPOINT, Permanent(Failure.GONE, 410))
    assert pace.window(ENDPOINT) == STRANGER


def test_an_answer_that_says_too_much_halves():
    for status in (429, 502, 504):
        pace = Pace(cap=20)
        pace.ended(ENDPOINT, Retryable(Failure.STATUS, status))
        assert pace.window(ENDPOINT) == STRANGER // 2


def test_what_one_endpoint_does_is_no_business_of_another():
    pace = Pace(cap=20)
    pace.ended(ENDPOINT, CutShort())
    assert pace.window(Address(uuid.uuid4(), uuid.uuid4())) == STRANGER
