"""Cards that were given other names in A2Billing, between two runs."""

from __future__ import annotations

import pytest

from tests.a2billing.old_system import bring, reasons, tally
from tests.support.ledger import projection, rows

USERNAME_TAKEN, ALIAS_TAKEN = "username is another customer's", "useralias is another customer's"


@pytest.fixture
def brought(furnished, own_engine, home):
    """An A2Billing that was imported once."""
    bring(furnished, own_engine, home)
    return furnished


def bring_as_rehearsed(old, engine, home):
    """A run in earnest, which comes to what a dry run before it has told."""
    dry, real = bring(old, engine, home, dry=True), bring(old, engine, home)
    assert (dry.tallies, reasons(dry), dry.adjusted) == (real.tallies, reasons(real), real.adjusted)
    return real


def names(engine):
    return {r.id: (r.username, r.useralias) for r in rows(engine, "SELECT id, username, useralias FROM customer")}


@pytest.mark.parametrize("name", ["username", "useralias"])
def test_a_new_name_follows_while_the_other_stays(brought, own_engine, home, name):
    before = names(own_engine)
    brought.run(f"UPDATE cc_card SET {name} = 'new name' WHERE id = 11")
    assert tally(bring_as_rehearsed(brought, own_engine, home), "cc_card") == (0, 2, 1, 0)
    assert getattr(projection(own_engine, 11), name) == "new name"
    assert {**names(own_engine), 11: None} == {**before, 11: None}
    assert tally(bring(brought, own_engine, home), "cc_card") == (0, 3, 0, 0)


@pytest.mark.parametrize(("name", "reason"), [("username", USERNAME_TAKEN), ("useralias", ALIAS_TAKEN)])
def test_a_new_name_that_is_somebody_elses_is_told_of_by_every_run_until_it_is_free(
    brought, own_engine, home, name, reason
):
    rows(own_engine, f"UPDATE customer SET {name} = 'other' WHERE id = 15 RETURNING id")
    before = names(own_engine)
    brought.run(f"UPDATE cc_card SET {name} = 'other', id_group = 1 WHERE id = 11")
    for changed in (1, 0):
        report = bring_as_rehearsed(brought, own_engine, home)
        assert reasons(report) == {("cc_card", 11): reason}
        assert tally(report, "cc_card") == (0, 2, changed, 1)
    assert names(own_engine) == before
    assert projection(own_engine, 11).id_group == 1
    rows(own_engine, f"UPDATE customer SET {name} = 'free' WHERE id = 15 RETURNING id")
    assert reasons(bring_as_rehearsed(brought, own_engine, home)) == {}
    assert getattr(projection(own_engine, 11), name) == "other"


def test_a_name_that_a_card_has_given_up_can_be_anothers_and_one_that_it_took_cannot(brought, own_engine, home):
    given_up = projection(own_engine, 11).username
    brought.run("UPDATE cc_card SET username = 'fresh' WHERE id = 11")
    brought.run("UPDATE cc_card SET username = '' WHERE id = 12")
    brought.run("ALTER TABLE cc_card DROP INDEX cons_cc_card_username" if brought.is_mysql else
                "ALTER TABLE cc_card DROP CONSTRAINT cc_card_username_key")  # fmt: skip
    brought.add("cc_card", id=5001, username=given_up)
    brought.add("cc_card", id=5002, username="fresh")
    brought.add("cc_card", id=5003, username=given_up)
    report = bring_as_rehearsed(brought, own_engine, home)
    assert reasons(report) == {
        ("cc_card", 12): "username is empty",
        ("cc_card", 5002): USERNAME_TAKEN,
        ("cc_card", 5003): USERNAME_TAKEN,
    }
    assert (projection(own_engine, 11).username, projection(own_engine, 5001).username) == ("fresh", given_up)


def test_a_name_that_another_card_gives_up_behind_it_comes_with_the_next_run(brought, own_engine, home):
    theirs = projection(own_engine, 12).username
    brought.run("UPDATE cc_card SET username = 'fresh' WHERE id = 12")
    brought.run("UPDATE cc_card SET username = :theirs WHERE id = 11", theirs=theirs)
    assert reasons(bring_as_rehearsed(brought, own_engine, home)) == {("cc_card", 11): USERNAME_TAKEN}
    assert reasons(bring_as_rehearsed(brought, own_engine, home)) == {}
    assert projection(own_engine, 11).username == theirs


def test_two_cards_that_have_swapped_names_are_told_of_and_settle_by_way_of_a_third_name(brought, own_engine, home):
    mine, theirs = projection(own_engine, 11).username, projection(own_engine, 12).username
    for number, name in ((11, "third"), (12, mine), (11, theirs)):
        brought.run("UPDATE cc_card SET username = :name WHERE id = :id", name=name, id=number)
    for _ in range(2):
        told = reasons(bring_as_rehearsed(brought, own_engine, home))
        assert told == {("cc_card", 11): USERNAME_TAKEN, ("cc_card", 12): USERNAME_TAKEN}
    for name in ("third", theirs):
        brought.run("UPDATE cc_card SET username = :name WHERE id = 11", name=name)
        assert reasons(bring_as_rehearsed(brought, own_engine, home)) == {}
    assert (projection(own_engine, 11).username, projection(own_engine, 12).username) == (theirs, mine)
