"""What an import brings, and that a second one brings only what is new."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from service.access.keys import create_client
from service.calls.call import NewCall
from service.calls.ingest import ingest
from service.db.transaction import transaction
from service.ledger.command import Caller
from service.ledger.proof.verify import verify
from tests.a2billing.old_system import bring, counts, furnish, reasons, tally
from tests.support.client import add_customer
from tests.support.ledger import apply_everything, events, projection, rows, stream


def test_every_card_is_a_customer_under_its_own_id_with_its_credit_to_the_last_decimal(furnished, own_engine, home):
    report = bring(furnished, own_engine, home)
    assert tally(report, "cc_card") == (3, 0, 0, 0)
    balances = rows(own_engine, "SELECT customer_id, balance, status FROM stream ORDER BY 1")
    assert [tuple(each) for each in balances] == [(11, Decimal("12343.1234"), 1), (12, Decimal("-7.5"), 6), (15, 0, 0)]


def test_the_opening_balance_is_one_event_of_its_own_kind_also_where_it_is_nothing(furnished, own_engine, home):
    bring(furnished, own_engine, home)
    for customer, credit in ((11, Decimal("12343.1234")), (12, Decimal("-7.5")), (15, 0)):
        first, second, *others = events(own_engine, customer)
        assert (first.kind, first.delta) == ("customer.created", 0)
        assert (second.kind, second.delta, second.amount) == ("credit.imported", credit, credit)
        assert {each.kind for each in others} <= {"callerid.added"}
        assert all(each.actor == "import" for each in (first, second, *others))


def test_the_ledger_verifies_before_and_after_it_is_applied(furnished, own_engine, home):
    bring(furnished, own_engine, home)
    assert verify(own_engine).customers == 3
    apply_everything(own_engine)
    assert verify(own_engine).customers == 3
    assert projection(own_engine, 12).credit == Decimal("-7.5")


def test_limits_take_effect_for_postpaid_cards_only(furnished, own_engine, home):
    furnished.add("cc_card", id=16, credit=1, typepaid=0, creditlimit=100)
    report = bring(furnished, own_engine, home)
    assert (stream(own_engine, 12).creditlimit, stream(own_engine, 12).credit_notification) == (50, 5)
    assert (stream(own_engine, 11).creditlimit, stream(own_engine, 11).credit_notification) == (None, None)
    assert stream(own_engine, 16).creditlimit is None
    assert report.adjusted["cc_card", "creditlimit of a prepaid card not taken"] == 1


def test_new_customers_get_ids_above_those_that_were_kept(furnished, own_engine, home):
    bring(furnished, own_engine, home)
    (made,) = rows(
        own_engine, "INSERT INTO customer (client_id, username, useralias) VALUES (:c, 'n', 'n') RETURNING id", c=home
    )
    assert made.id > 15


def test_an_id_that_another_client_uses_is_left_to_it(furnished, own_engine, home):
    other = create_client(own_engine, "other")
    add_customer(own_engine, other, id=12)
    bring(furnished, own_engine, home)
    mapped = dict(tuple(r) for r in rows(own_engine, "SELECT card_id, customer_id FROM imported_card"))
    assert (mapped[11], mapped[15]) == (11, 15)
    assert mapped[12] > 15
    assert stream(own_engine, mapped[12]).balance == Decimal("-7.5")
    assert {r.customer_id for r in rows(own_engine, "SELECT customer_id FROM call_record WHERE uniqueid = 'x.2'")} == {
        mapped[12]
    }


def test_one_id_that_is_used_shifts_no_other_card(postgres, own_engine, home):
    other = create_client(own_engine, "other")
    add_customer(own_engine, other, id=1)
    postgres.run(
        "INSERT INTO cc_card (id, username, useralias, credit) SELECT n, n, n, 1 FROM generate_series(1, 600) n"
    )
    bring(postgres, own_engine, home)
    moved = rows(own_engine, "SELECT card_id, customer_id FROM imported_card WHERE card_id <> customer_id")
    assert [r.card_id for r in moved] == [1]
    assert moved[0].customer_id > 600


def test_two_clients_can_each_bring_the_same_database(furnished, own_engine, home):
    other = create_client(own_engine, "other")
    assert tally(bring(furnished, own_engine, home), "cc_card") == (3, 0, 0, 0)
    assert tally(bring(furnished, own_engine, other), "cc_card") == (3, 0, 0, 0)
    verify(own_engine)


def test_groups_and_caller_ids_come_along_cleaned(furnished, own_engine, home):
    bring(furnished, own_engine, home)
    assert [tuple(r) for r in rows(own_engine, "SELECT id, name FROM customer_group ORDER BY 1")] == [
        (1, "DEFAULT"),
        (2, "Đại lý"),
    ]
    assert [tuple(r) for r in rows(own_engine, "SELECT cid, customer_id FROM caller_id ORDER BY 1")] == [
        ("+84283822", 11),
        ("0123", 11),
        ("0909", 12),
    ]


def test_calls_are_records_that_nobody_is_charged_for(furnished, own_engine, home):
    bring(furnished, own_engine, home)
    calls = rows(own_engine, "SELECT * FROM call_record ORDER BY uniqueid, leg")
    assert [(c.uniqueid, c.leg, c.customer_id, c.event_seq) for c in calls] == [
        ("a2b-104", 0, 12, None),
        ("x.1", 0, 11, None),
        ("x.1", 1, 11, None),
        ("x.2", 0, 12, None),
    ]
    (first, *_) = calls
    assert (first.source, first.destination, first.duration, first.amount) == ("0901", "0281", 60, Decimal("0.5"))
    assert (first.start_time, first.disposition) == (datetime(2024, 3, 1, 10, tzinfo=UTC), "ANSWER")
    assert rows(own_engine, "SELECT sum(calls) FROM call_tally WHERE hours = 24")[0][0] == 4


def test_refills_are_kept_as_history_without_an_effect(furnished, own_engine, home):
    bring(furnished, own_engine, home)
    kept = rows(own_engine, "SELECT * FROM imported_refill ORDER BY refill_id")
    assert [(r.customer_id, r.credit, r.description, r.refill_type) for r in kept] == [
        (11, 10, "nạp tiền", 1),
        (12, 10, "nạp tiền", 1),
    ]
    assert stream(own_engine, 11).balance == Decimal("12343.1234")


def test_dates_are_read_in_the_zone_that_is_given(furnished, own_engine, home):
    bring(furnished, own_engine, home, zone="Asia/Ho_Chi_Minh")
    assert rows(own_engine, "SELECT max(start_time) FROM call_record")[0][0] == datetime(2024, 3, 1, 3, tzinfo=UTC)
    assert rows(own_engine, "SELECT max(refilled_at) FROM imported_refill")[0][0] == datetime(2024, 2, 1, 1, tzinfo=UTC)


def test_a_second_run_changes_nothing(furnished, own_engine, home):
    bring(furnished, own_engine, home)
    before = counts(own_engine)
    report = bring(furnished, own_engine, home)
    assert counts(own_engine) == before
    assert {table: tally(report, table) for table in report.tallies} == {
        "cc_card_group": (0, 2, 0, 0),
        "cc_card": (0, 3, 0, 0),
        "cc_callerid": (0, 3, 0, 0),
        "cc_call": (0, 4, 0, 0),
        "cc_logrefill": (0, 2, 0, 0),
    }


def test_rows_that_became_visible_late_under_a_lower_id_come_with_the_next_run(furnished, own_engine, home):
    bring(furnished, own_engine, home)
    furnished.add("cc_card", id=3, credit=5)
    furnished.add("cc_callerid", id=-1, cid="0777", id_cc_card=3)
    furnished.add("cc_call", id=50, card_id=3, uniqueid="x.1")
    furnished.add("cc_logrefill", id=-1, card_id=3)
    report = bring(furnished, own_engine, home)
    assert all(tally(report, table)[0] == 1 for table in ("cc_card", "cc_callerid", "cc_call", "cc_logrefill"))
    assert stream(own_engine, 3).balance == 5
    legs = rows(own_engine, "SELECT leg, customer_id FROM call_record WHERE uniqueid = 'x.1' ORDER BY leg")
    assert [tuple(r) for r in legs] == [(0, 11), (1, 11), (2, 3)]
    verify(own_engine)


def test_double_rows_of_a_call_are_both_kept(old, own_engine, home):
    old.add("cc_card", id=1)
    for number in (1, 2):
        old.add("cc_call", id=number, card_id=1, uniqueid="same")
    bring(old, own_engine, home)
    bring(old, own_engine, home)
    assert [r.leg for r in rows(own_engine, "SELECT leg FROM call_record ORDER BY leg")] == [0, 1]


def test_a_leg_that_came_by_the_api_keeps_its_number(furnished, own_engine, home):
    at = datetime(2024, 3, 1, 10, tzinfo=UTC)
    with transaction(own_engine) as tx:
        ingest(tx, Caller(home, "test"), [NewCall("x.1", "1", "2", at, at, 0, Decimal(0))])
    bring(furnished, own_engine, home)
    legs = rows(own_engine, "SELECT leg, customer_id FROM call_record WHERE uniqueid = 'x.1' ORDER BY leg")
    assert [tuple(r) for r in legs] == [(0, None), (1, 11), (2, 11)]


def test_calls_take_the_lowest_legs_that_are_free_whatever_numbers_others_have(furnished, own_engine, home):
    at = datetime(2024, 3, 1, 10, tzinfo=UTC)
    for leg in (1, 3, 2**31 - 1):
        with transaction(own_engine) as tx:
            ingest(tx, Caller(home, "test"), [NewCall("x.1", "1", "2", at, at, 0, Decimal(0), leg=leg)])
    furnished.add("cc_call", id=105, card_id=11, uniqueid="x.1")
    furnished.add("cc_call", id=106, card_id=11, uniqueid="x.1")
    assert tally(bring(furnished, own_engine, home), "cc_call") == (6, 0, 0, 0)
    legs = rows(own_engine, "SELECT leg FROM call_record WHERE uniqueid = 'x.1' AND customer_id = 11 ORDER BY id")
    assert sorted(r.leg for r in legs) == [0, 2, 4, 5]
    before = counts(own_engine)
    bring(furnished, own_engine, home)
    assert counts(own_engine) == before


@pytest.mark.parametrize(
    "change", ["credit = 3", "description = 'other'", "date = '2024-02-02 08:00:00'", "refill_type = 0", "card_id = 12"]
)
def test_a_refill_that_was_changed_afterwards_in_anything_is_told_of_and_left(postgres, own_engine, home, change):
    furnish(postgres)
    bring(postgres, own_engine, home)
    kept = rows(own_engine, "SELECT * FROM imported_refill ORDER BY refill_id")
    postgres.run(f"UPDATE cc_logrefill SET {change} WHERE id = 1")
    report = bring(postgres, own_engine, home)
    assert reasons(report) == {("cc_logrefill", 1): "has changed since it was imported"}
    assert tally(report, "cc_logrefill") == (0, 1, 0, 1)
    assert rows(own_engine, "SELECT * FROM imported_refill ORDER BY refill_id") == kept


def test_a_call_that_was_changed_afterwards_is_told_of_and_not_brought_twice(furnished, own_engine, home):
    bring(furnished, own_engine, home)
    furnished.run("UPDATE cc_call SET sessionbill = 3, uniqueid = 'other' WHERE id = 101")
    furnished.run("UPDATE cc_logrefill SET credit = 3 WHERE id = 1")
    before = counts(own_engine)
    report = bring(furnished, own_engine, home)
    assert counts(own_engine) == before
    assert reasons(report) == {
        ("cc_call", 101): "has changed since it was imported",
        ("cc_logrefill", 1): "has changed since it was imported",
    }


def test_since_leaves_out_older_history_and_takes_all_cards(furnished, own_engine, home):
    furnished.add("cc_call", id=200, card_id=11, starttime="2023-12-31 23:59:59")
    furnished.add("cc_call", id=201, card_id=11, starttime="2020-01-01 00:00:00")
    furnished.add("cc_logrefill", id=200, card_id=11, date="2020-01-01 00:00:00")
    report = bring(furnished, own_engine, home, since=datetime(2024, 1, 1, tzinfo=UTC))
    assert tally(report, "cc_card") == (3, 0, 0, 0)
    assert tally(report, "cc_call") == (4, 0, 0, 0)
    assert tally(report, "cc_logrefill") == (2, 0, 0, 0)
    assert tally(bring(furnished, own_engine, home), "cc_call") == (2, 4, 0, 0)


def test_since_takes_refills_that_have_no_date(old, own_engine, home):
    old.add("cc_card", id=11)
    old.add("cc_logrefill", id=1, card_id=11, date="0000-00-00 00:00:00" if old.is_mysql else "0001-01-01 00:00:00")
    report = bring(old, own_engine, home, since=datetime(2024, 1, 1, tzinfo=UTC))
    assert tally(report, "cc_logrefill") == (1, 0, 0, 0)
    assert rows(own_engine, "SELECT refilled_at FROM imported_refill")[0].refilled_at is None


@pytest.mark.parametrize(
    ("since", "calls"), [(datetime.min.replace(tzinfo=UTC), 4), (datetime.max.replace(tzinfo=UTC), 0)]
)
@pytest.mark.parametrize("zone", ["Asia/Ho_Chi_Minh", "America/Lima"])
def test_since_may_be_at_either_end_of_the_calendar(postgres, own_engine, home, since, calls, zone):
    furnish(postgres)
    report = bring(postgres, own_engine, home, since=since, zone=zone)
    assert tally(report, "cc_call") == (calls, 0, 0, 0)


def test_workers_are_woken_for_every_customer_that_has_new_events_and_for_no_other(furnished, own_engine, home):
    rung = []
    bring(furnished, own_engine, home, ring=rung.extend, dry=True)
    assert rung == []
    bring(furnished, own_engine, home, ring=rung.extend)
    assert set(rung) == {11, 12, 15}
    rung.clear()
    furnished.run("UPDATE cc_card SET credit = 1 WHERE id = 12")
    furnished.add("cc_callerid", id=9, cid="0999", id_cc_card=15)
    bring(furnished, own_engine, home, ring=rung.extend)
    assert rung == [12, 15]


def test_a_group_gets_the_name_that_it_has_there_now(furnished, own_engine, home):
    bring(furnished, own_engine, home)
    furnished.run("UPDATE cc_card_group SET name = 'VIP' WHERE id = 2")
    assert tally(bring(furnished, own_engine, home), "cc_card_group") == (0, 1, 1, 0)
    named = rows(own_engine, "SELECT id, name FROM customer_group ORDER BY id")
    assert [tuple(r) for r in named] == [(1, "DEFAULT"), (2, "VIP")]


def test_a_dry_run_tells_the_same_and_writes_nothing(furnished, own_engine, home):
    furnished.add("cc_callerid", id=9, cid="01-23", id_cc_card=12)
    furnished.add("cc_call", id=300, card_id=999)
    before = counts(own_engine)
    dry = bring(furnished, own_engine, home, dry=True)
    assert counts(own_engine) == before
    real = bring(furnished, own_engine, home)
    assert dry.tallies == real.tallies
    assert reasons(dry) == reasons(real)
    again = bring(furnished, own_engine, home, dry=True)
    assert tally(again, "cc_card") == (0, 3, 0, 0)
