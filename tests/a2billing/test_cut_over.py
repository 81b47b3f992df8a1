"""A first run days before, a second one after A2Billing was stopped: what has changed there meanwhile, and here."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from service.customers.expiry import expire_customers
from service.ledger.append import append_one
from service.ledger.command import Caller, add_credit, set_credit, set_status
from service.ledger.event import Status
from service.ledger.proof.verify import verify
from tests.a2billing.old_system import bring, counts, reasons, tally
from tests.support.ledger import apply_everything, events, projection, rows, stream


@pytest.fixture
def brought(furnished, own_engine, home):
    """An A2Billing that was imported once."""
    bring(furnished, own_engine, home)
    return furnished


def changed_here(engine, home, command, *arguments):
    append_one(engine, command(Caller(home, "test"), *arguments))


def test_credit_that_changed_there_only_takes_the_place_of_ours(brought, own_engine, home):
    brought.run("UPDATE cc_card SET credit = 99.5 WHERE id = 11")
    report = bring(brought, own_engine, home)
    assert tally(report, "cc_card") == (0, 2, 1, 0)
    assert stream(own_engine, 11).balance == Decimal("99.5")
    last = events(own_engine, 11)[-1]
    assert (last.kind, last.amount, last.delta) == ("credit.imported", Decimal("99.5"), Decimal("-12243.6234"))
    before = counts(own_engine)
    assert tally(bring(brought, own_engine, home), "cc_card") == (0, 3, 0, 0)
    assert counts(own_engine) == before
    verify(own_engine)


def test_credit_that_changed_here_too_is_left_and_told_of_by_every_run(brought, own_engine, home):
    changed_here(own_engine, home, add_credit, "id:11", Decimal(1))
    brought.run("UPDATE cc_card SET credit = 99 WHERE id = 11")
    for _ in range(2):
        report = bring(brought, own_engine, home)
        assert tally(report, "cc_card") == (0, 2, 0, 1)
        assert reasons(report) == {("cc_card", 11): "credit was changed here as well, and left"}
        detail = report.not_taken["cc_card", "credit was changed here as well, and left"][0].detail
        assert "99" in detail
        assert "12344.1234" in detail
    assert stream(own_engine, 11).balance == Decimal("12344.1234")


def test_credit_that_changed_here_only_stays(brought, own_engine, home):
    changed_here(own_engine, home, set_credit, "id:11", Decimal(1))
    assert tally(bring(brought, own_engine, home), "cc_card") == (0, 3, 0, 0)
    assert stream(own_engine, 11).balance == 1


def test_credit_that_came_to_the_same_here_and_there_needs_no_event(brought, own_engine, home):
    changed_here(own_engine, home, set_credit, "id:11", Decimal(50))
    brought.run("UPDATE cc_card SET credit = 50 WHERE id = 11")
    before = counts(own_engine)
    assert tally(bring(brought, own_engine, home), "cc_card") == (0, 2, 1, 0)
    assert counts(own_engine) == before


def test_status_and_limits_that_changed_there_only_take_the_place_of_ours(brought, own_engine, home):
    brought.run("UPDATE cc_card SET status = 1, creditlimit = 70, credit_notification = 20, credit = -8 WHERE id = 12")
    assert tally(bring(brought, own_engine, home), "cc_card") == (0, 2, 1, 0)
    head = stream(own_engine, 12)
    assert (head.status, head.creditlimit, head.credit_notification, head.balance) == (1, 70, 20, -8)
    apply_everything(own_engine)
    shown = projection(own_engine, 12)
    assert (shown.status, shown.creditlimit, shown.credit_notification, shown.credit) == (1, 70, 20, -8)
    verify(own_engine)


def test_a_status_that_changed_here_is_left_while_the_credit_comes(brought, own_engine, home):
    changed_here(own_engine, home, set_status, "id:12", Status.CANCELLED)
    brought.run("UPDATE cc_card SET status = 1, credit = 3 WHERE id = 12")
    report = bring(brought, own_engine, home)
    assert reasons(report) == {("cc_card", 12): "status was changed here as well, and left"}
    assert (stream(own_engine, 12).status, stream(own_engine, 12).balance) == (0, 3)


def expire_11(old, engine, home, **dates):
    """Let the card's time be over here, while A2Billing says nothing of it."""
    old.run(f"UPDATE cc_card SET {', '.join(f'{name} = :{name}' for name in dates)} WHERE id = 11", **dates)
    bring(old, engine, home)
    apply_everything(engine)
    assert [each.customer_id for each in expire_customers(engine)] == [11]
    apply_everything(engine)


PAST, FUTURE = "2021-05-31 10:00:00", "2037-05-31 10:00:00"
RENEWALS = [
    ({"enableexpire": 1, "expirationdate": PAST}, {"expirationdate": FUTURE}),
    ({"enableexpire": 1, "expirationdate": PAST}, {"enableexpire": 0}),
    ({"enableexpire": 2, "expiredays": 3, "firstusedate": PAST}, {"firstusedate": FUTURE}),
    ({"enableexpire": 3, "expiredays": 3, "creationdate": PAST}, {"expiredays": 30_000}),
]


@pytest.mark.parametrize(("before", "after"), RENEWALS)
def test_who_expired_here_and_was_renewed_there_is_active_again(brought, own_engine, home, before, after):
    expire_11(brought, own_engine, home, **before)
    changes = {**after, "credit": 70, "typepaid": 1, "credit_notification": 90}
    brought.run(f"UPDATE cc_card SET {', '.join(f'{name} = :{name}' for name in changes)} WHERE id = 11", **changes)
    dry = bring(brought, own_engine, home, dry=True)
    report = bring(brought, own_engine, home)
    assert tally(report, "cc_card") == tally(dry, "cc_card") == (0, 2, 1, 0)
    assert (stream(own_engine, 11).status, stream(own_engine, 11).balance) == (Status.ACTIVE, 70)
    apply_everything(own_engine)
    assert expire_customers(own_engine) == []
    assert tally(bring(brought, own_engine, home), "cc_card") == (0, 3, 0, 0)
    verify(own_engine)


def test_who_expired_here_stays_so_while_nobody_renews_the_card(brought, own_engine, home):
    expire_11(brought, own_engine, home, enableexpire=1, expirationdate=PAST)
    brought.run("UPDATE cc_card SET id_group = 1, expirationdate = '2022-01-01 00:00:00' WHERE id = 11")
    assert tally(bring(brought, own_engine, home), "cc_card") == (0, 2, 1, 0)
    assert stream(own_engine, 11).status == Status.EXPIRED


def test_who_was_expired_by_hand_stays_so_and_a_renewal_there_is_told_of(brought, own_engine, home):
    expire_11(brought, own_engine, home, enableexpire=1, expirationdate=PAST)
    for status in (Status.SUSPENDED, Status.EXPIRED):
        changed_here(own_engine, home, set_status, "id:11", status)
    brought.run("UPDATE cc_card SET expirationdate = :future WHERE id = 11", future=FUTURE)
    report = bring(brought, own_engine, home)
    assert reasons(report) == {("cc_card", 11): "status was changed here as well, and left"}
    assert stream(own_engine, 11).status == Status.EXPIRED
    brought.run("UPDATE cc_card SET id_group = 1 WHERE id = 11")
    assert reasons(bring(brought, own_engine, home)) == {}


def test_a_first_use_follows_the_card_and_one_that_was_made_here_counts_while_it_has_none(postgres, own_engine, home):
    postgres.add("cc_card", id=1)
    bring(postgres, own_engine, home)
    here = datetime(2024, 1, 1, tzinfo=UTC)
    rows(own_engine, "UPDATE customer SET firstusedate = :here WHERE id = 1 RETURNING id", here=here)
    for there, first in ((None, here), ("2023-01-01", datetime(2023, 1, 1, tzinfo=UTC)), ("2025-01-01", None)):
        postgres.run("UPDATE cc_card SET firstusedate = :there, id_group = id_group + 1", there=there)
        bring(postgres, own_engine, home)
        assert projection(own_engine, 1).firstusedate == (first or datetime(2025, 1, 1, tzinfo=UTC))


def test_the_last_use_of_the_two_counts(postgres, own_engine, home):
    postgres.add("cc_card", id=1, lastuse="2024-01-01")
    bring(postgres, own_engine, home)
    here = datetime(2025, 1, 1, tzinfo=UTC)
    rows(own_engine, "UPDATE customer SET lastuse = :here WHERE id = 1 RETURNING id", here=here)
    for there, last in (("2024-06-01", here), ("2026-01-01", datetime(2026, 1, 1, tzinfo=UTC))):
        postgres.run("UPDATE cc_card SET lastuse = :there", there=there)
        bring(postgres, own_engine, home)
        assert projection(own_engine, 1).lastuse == last


def test_what_the_ledger_does_not_keep_follows_the_card(brought, own_engine, home):
    brought.run(
        "UPDATE cc_card SET lastuse = '2031-05-05', expirationdate = '2032-01-01 00:00:00', enableexpire = 1,"
        " id_group = 1, activated = 'f' WHERE id = 11"
    )
    before = counts(own_engine)
    assert tally(bring(brought, own_engine, home), "cc_card") == (0, 2, 1, 0)
    shown = projection(own_engine, 11)
    assert (shown.lastuse, shown.id_group, shown.activated) == (datetime(2031, 5, 5, tzinfo=UTC), 1, False)
    assert shown.expires_at == datetime(2032, 1, 1, tzinfo=UTC)
    assert counts(own_engine) == before


def test_another_database_by_mistake_touches_no_customer(brought, own_engine, home):
    brought.run("UPDATE cc_card SET username = 'stranger', useralias = 'stranger', credit = 1 WHERE id = 11")
    brought.add("cc_call", id=900, card_id=11)
    report = bring(brought, own_engine, home)
    assert reasons(report)["cc_card", 11] == "another card was imported under its id"
    assert reasons(report)["cc_call", 900] == "its card was not imported"
    assert stream(own_engine, 11).balance == Decimal("12343.1234")


def test_a_caller_id_that_was_switched_off_there_is_here_too(brought, own_engine, home):
    brought.run("UPDATE cc_callerid SET activated = 'f' WHERE id IN (1, 3)")
    rows(own_engine, "UPDATE caller_id SET customer_id = 15 WHERE cid = '0909' RETURNING cid")
    report = bring(brought, own_engine, home)
    assert tally(report, "cc_callerid") == (0, 1, 1, 1)
    assert dict(tuple(r) for r in rows(own_engine, "SELECT cid, activated FROM caller_id")) == {
        "0123": False,
        "+84283822": True,
        "0909": True,
    }


def test_a_caller_id_that_was_switched_here_too_is_left_and_told_of(brought, own_engine, home):
    rows(own_engine, "UPDATE caller_id SET activated = false WHERE cid = '0123' RETURNING cid")
    assert tally(bring(brought, own_engine, home), "cc_callerid") == (0, 3, 0, 0)
    brought.run("UPDATE cc_callerid SET activated = 'f' WHERE id = 1")
    report = bring(brought, own_engine, home)
    told = "activated was changed here as well, or the cid moved, and left"
    assert reasons(report) == {("cc_callerid", 1): told}


def test_a_caller_id_that_moved_there_is_told_of(brought, own_engine, home):
    brought.run("UPDATE cc_callerid SET id_cc_card = 12 WHERE id = 1")
    report = bring(brought, own_engine, home)
    assert reasons(report) == {("cc_callerid", 1): "has another cid or card than when it was imported"}
    assert rows(own_engine, "SELECT customer_id FROM caller_id WHERE cid = '0123'")[0].customer_id == 11
