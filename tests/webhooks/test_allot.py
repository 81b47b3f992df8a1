import uuid
from dataclasses import replace

from service.webhooks.allot import Address, Limits, Waiting, allot

LIMITS = Limits(room=200, per_endpoint=20, allowance=lambda _: 10_000, lease=30.0, at_once=200)
A, B, C = (Address(uuid.UUID(int=1), uuid.UUID(int=n)) for n in (1, 2, 3))


def test_an_endpoint_gets_no_more_than_its_cap_leaves():
    limits = replace(LIMITS, per_endpoint=5)
    assert allot([Waiting(A, due=True, sending=3), Waiting(B, due=True, sending=5)], limits) == ({A: 2}, B)


def test_an_endpoint_gets_no_more_than_its_allowance():
    limits = replace(LIMITS, allowance={A: 1, B: 0}.__getitem__)
    assert allot([Waiting(A, due=True, sending=0), Waiting(B, due=True, sending=0)], limits) == ({A: 1}, B)


def test_what_was_picked_before_counts():
    limits = replace(LIMITS, per_endpoint=5)
    assert allot([Waiting(A, due=True, sending=1)], limits, taken=[A, A, B]) == ({A: 2}, A)


def test_no_endpoint_takes_more_than_it_leaves_free():
    limits = replace(LIMITS, room=40, per_endpoint=100)
    assert allot([Waiting(a, due=True, sending=0) for a in (A, B, C)], limits) == ({A: 20, B: 10, C: 5}, C)


def test_the_last_slot_is_given_away_and_then_the_walk_ends():
    assert allot([Waiting(A, due=True, sending=0), Waiting(B, due=True, sending=0)], replace(LIMITS, room=1)) == (
        {A: 1},
        A,
    )


def test_an_endpoint_with_nothing_due_is_passed():
    assert allot([Waiting(A, due=False, sending=0), Waiting(B, due=True, sending=0)], LIMITS) == ({B: 20}, B)


def test_the_last_slots_are_for_those_that_have_none():
    walk = [Waiting(A, due=True, sending=2), Waiting(B, due=True, sending=0)]
    assert allot(walk, replace(LIMITS, room=2)) == ({B: 1}, B)
