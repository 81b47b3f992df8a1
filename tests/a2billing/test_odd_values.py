"""What is found in A2Billing databases that have been in use for years: taken, put right, or told of; never dropped."""

from __future__ import annotations

import csv
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from service.errors import Invalid
from service.ledger.proof.verify import verify
from tests.a2billing import schema
from tests.a2billing.old_system import OldSystem, bring, reasons, tally
from tests.support import servers
from tests.support.client import add_customer
from tests.support.ledger import projection, rows, stream


def test_dates_that_do_not_exist_become_none_and_are_counted(old, own_engine, home):
    zero = "0000-00-00 00:00:00" if old.is_mysql else "0001-01-01 00:00:00"
    old.add("cc_card", id=1, creationdate=zero, firstusedate=zero, expirationdate=zero, lastuse=zero)
    old.add("cc_card", id=2, expirationdate="2031-05-31 10:15:27", firstusedate="2021-05-31 20:08:56")
    report = bring(old, own_engine, home)
    first, second = projection(own_engine, 1), projection(own_engine, 2)
    assert (first.firstusedate, first.expirationdate, first.lastuse) == (None, None, None)
    assert second.expirationdate == datetime(2031, 5, 31, 10, 15, 27, tzinfo=UTC)
    assert report.adjusted["cc_card", "date made null"] >= 1
    assert tally(bring(old, own_engine, home), "cc_card") == (0, 2, 0, 0)


def test_a_date_beyond_every_calendar_becomes_none(postgres, own_engine, home):
    postgres.add("cc_card", id=1, expirationdate="infinity", firstusedate="0044-03-15 00:00:00 BC")
    report = bring(postgres, own_engine, home)
    assert projection(own_engine, 1).expirationdate is None
    assert report.adjusted == {("cc_card", "date made null"): 1}


def test_a_date_of_a_month_zero_becomes_none(mysql, own_engine, home):
    mysql.run("ALTER TABLE cc_card MODIFY expirationdate datetime; SET SESSION sql_mode = ''")
    mysql.add("cc_card", id=1, expirationdate="2021-00-15 00:00:00")
    bring(mysql, own_engine, home)
    assert projection(own_engine, 1).expirationdate is None


def test_a_call_without_a_beginning_cannot_be_taken(old, own_engine, home):
    old.add("cc_card", id=1)
    old.add("cc_call", id=1, card_id=1, starttime="0000-00-00 00:00:00" if old.is_mysql else None)
    old.add("cc_call", id=2, card_id=1, starttime="1999-01-01 00:00:00")
    report = bring(old, own_engine, home)
    assert tally(report, "cc_call") == (0, 0, 0, 2)
    with_since = bring(old, own_engine, home, since=datetime(2024, 1, 1, tzinfo=UTC))
    assert with_since.tallies["cc_call"].not_taken >= 1


def test_a_call_without_an_end_ends_after_its_duration(old, own_engine, home):
    old.add("cc_card", id=1)
    old.add("cc_call", id=1, card_id=1, stoptime="0000-00-00 00:00:00" if old.is_mysql else None, sessiontime=90)
    old.add("cc_call", id=2, card_id=1, sessiontime=None, sessionbill=None, src="", calledstation="")
    bring(old, own_engine, home)
    first, second = rows(own_engine, "SELECT * FROM call_record ORDER BY id")
    assert (first.end_time - first.start_time).total_seconds() == 90
    assert (second.duration, second.amount, second.source, second.destination) == (0, 0, "", "")


@pytest.mark.parametrize(
    ("bill", "amount"),
    [(0.1 + 0.2, "0.3"), (1600.3, "1600.3"), (0.000005, "0.00001"), (0.0000049, "0"), (12345.67, "12345.67")],
)
def test_a_float_is_rounded_to_what_was_meant(old, own_engine, home, bill, amount):
    old.add("cc_card", id=1)
    old.add("cc_call", id=1, card_id=1, sessionbill=bill)
    bring(old, own_engine, home)
    assert rows(own_engine, "SELECT amount FROM call_record")[0].amount == Decimal(amount)


@pytest.mark.parametrize(
    ("code", "disposition"), [(1, "ANSWER"), (2, "BUSY"), (3, "NOANSWER"), (4, "CANCEL"), (5, "CONGESTION"),
                              (6, "CHANUNAVAIL"), (0, None), (9, None), (None, None)],
)  # fmt: skip
def test_a_terminate_cause_is_a_disposition(postgres, own_engine, home, code, disposition):
    postgres.add("cc_card", id=1)
    postgres.add("cc_call", id=1, card_id=1, terminatecauseid=code)
    bring(postgres, own_engine, home)
    assert rows(own_engine, "SELECT disposition FROM call_record")[0].disposition == disposition


def test_calls_that_cannot_be_taken_are_told_of_with_their_reasons(old, own_engine, home):
    old.add("cc_card", id=1)
    old.add("cc_call", id=1, card_id=1, sessiontime=-5)
    old.add("cc_call", id=2, card_id=404)
    assert reasons(bring(old, own_engine, home)) == {
        ("cc_call", 1): "sessiontime is negative",
        ("cc_call", 2): "its card was not imported",
    }


def test_text_in_another_encoding_is_read_as_what_it_was(mysql, own_engine, home):
    mysql.run("ALTER TABLE cc_card_group MODIFY name varbinary(100) NOT NULL")
    for number, raw in enumerate(
        [
            "José".encode(),  # as it should be
            b"Jos\xe9 \x80",  # cp1252 in a column that says UTF-8
            "José Đại lý".encode().decode("latin-1").encode(),  # encoded twice
            "naïve €".encode().decode("cp1252").encode(),
        ]
    ):
        mysql.run("INSERT INTO cc_card_group (id, name) VALUES (:id, :raw)", id=number + 1, raw=raw)
    bring(mysql, own_engine, home)
    assert [r.name for r in rows(own_engine, "SELECT name FROM customer_group ORDER BY id")] == [
        "José",
        "José €",
        "José Đại lý",
        "naïve €",
    ]


def test_latin1_bytes_that_mysql_takes_for_utf8_come_out_right(mysql, own_engine, home):
    """The classic: UTF-8 written over a latin1 connection into a utf8 column."""
    connection = create_engine(make_url(mysql.url).update_query_dict({"charset": "latin1"})).connect()
    with connection, connection.begin():
        connection.exec_driver_sql(b"INSERT INTO cc_card_group (id, name) VALUES (1, 'Jos\xc3\xa9')".decode("latin-1"))
    bring(mysql, own_engine, home)
    assert rows(own_engine, "SELECT name FROM customer_group")[0].name == "José"


def test_a_postgres_without_an_encoding_is_read_byte_by_byte(own_engine, home):
    name = f"a2b_{uuid.uuid4().hex[:12]}"
    admin = create_engine(servers.url_of("postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(
            text(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0")
        )
        try:
            url = make_url(servers.url_of(name)).update_query_dict({"client_encoding": "latin1"})
            with OldSystem.at(url) as system:
                system.run(schema.POSTGRES)
                for number, raw in enumerate(
                    ["Đại lý".encode(), b"Jos\xe9", "José".encode().decode("latin-1").encode()]
                ):
                    system.add("cc_card_group", id=number + 1, name=raw.decode("latin-1"))
            with OldSystem.at(make_url(servers.url_of(name))) as system:
                bring(system, own_engine, home)
        finally:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()
    assert [r.name for r in rows(own_engine, "SELECT name FROM customer_group ORDER BY id")] == [
        "Đại lý",
        "José",
        "José",
    ]


def test_nul_characters_are_taken_out(mysql, own_engine, home):
    mysql.add("cc_card", id=1, username="0900\x000001", useralias="a\x00")
    mysql.add("cc_logrefill", id=1, card_id=1, description="top\x00-up")
    bring(mysql, own_engine, home)
    assert (projection(own_engine, 1).username, projection(own_engine, 1).useralias) == ("09000001", "a")
    assert rows(own_engine, "SELECT description FROM imported_refill")[0].description == "top-up"


def test_cards_that_cannot_be_taken_are_told_of_and_their_rows_too(old, own_engine, home):
    add_customer(own_engine, home, id=900, username="taken", useralias="also-taken")
    if old.is_mysql:
        old.run(
            "ALTER TABLE cc_card MODIFY credit decimal(20,8), MODIFY username varchar(80), MODIFY useralias varchar(80)"
        )
    else:
        old.run("ALTER TABLE cc_card ALTER credit TYPE numeric")
    old.add("cc_card", id=1, credit="1.000001")
    old.add("cc_card", id=2, username="")
    old.add("cc_card", id=3, useralias="x" * 51)
    old.add("cc_card", id=4, username="taken")
    old.add("cc_card", id=5, useralias="also-taken")
    old.add("cc_card", id=6, status=9)
    old.add("cc_card", id=7, credit="12345678901")
    old.add("cc_card", id=8, credit="1.50000000")
    old.add("cc_callerid", id=1, cid="0123", id_cc_card=1)
    report = bring(old, own_engine, home)
    assert reasons(report) == {
        ("cc_card", 1): "credit has more than 5 decimals",
        ("cc_card", 2): "username is empty",
        ("cc_card", 3): "useralias is longer than 50 characters",
        ("cc_card", 4): "username is another customer's",
        ("cc_card", 5): "useralias is another customer's",
        ("cc_card", 6): "status is no code from 0 to 8",
        ("cc_card", 7): "credit has more than 10 digits before the point",
        ("cc_callerid", 1): "its card was not imported",
    }
    assert stream(own_engine, 8).balance == Decimal("1.5")
    verify(own_engine)


def test_a_card_that_could_not_be_taken_comes_once_it_is_put_right(old, own_engine, home):
    old.add("cc_card", id=1, username="", credit=5)
    old.add("cc_call", id=1, card_id=1)
    assert tally(bring(old, own_engine, home), "cc_call") == (0, 0, 0, 1)
    old.run("UPDATE cc_card SET username = '0901' WHERE id = 1")
    report = bring(old, own_engine, home)
    assert (tally(report, "cc_card"), tally(report, "cc_call")) == ((1, 0, 0, 0), (1, 0, 0, 0))


def test_caller_ids_that_cannot_be_taken_are_told_of_by_every_run_alike(old, own_engine, home):
    add_customer(own_engine, home, id=900, caller_ids=["0555"])
    old.add("cc_card", id=1)
    old.add("cc_card", id=2)
    for number, cid, card, activated in (
        (1, "0123", 1, "t"), (2, "01 23", 1, "f"), (3, "(0123)", 2, "t"), (4, "0555", 1, "t"), (5, "-", 1, "t"),
        (6, "9" * 101, 1, "t"), (7, "0777", 3, "t"), (8, "0888", 2, "f"),
    ):  # fmt: skip
        old.add("cc_callerid", id=number, cid=cid, id_cc_card=card, activated=activated)
    there = "cid is there already, after cleaning"
    expected = {
        ("cc_callerid", 2): there,
        ("cc_callerid", 3): there,
        ("cc_callerid", 4): there,
        ("cc_callerid", 5): "cid is empty",
        ("cc_callerid", 6): "cid is longer than 100 characters",
        ("cc_callerid", 7): "its card was not imported",
    }
    for _ in range(2):
        assert reasons(bring(old, own_engine, home)) == expected
    kept = rows(own_engine, "SELECT cid, customer_id, activated FROM caller_id ORDER BY cid")
    assert [tuple(r) for r in kept] == [("0123", 1, True), ("0555", 900, True), ("0888", 2, False)]


def test_activated_is_read_in_every_spelling(mysql, own_engine, home):
    for number, spelling in enumerate(["t", "f", "1", "0", "?", ""], 1):
        mysql.add("cc_card", id=number, activated=spelling)
    report = bring(mysql, own_engine, home)
    shown = [r.activated for r in rows(own_engine, "SELECT activated FROM customer ORDER BY id")]
    assert shown == [True, False, True, False, False, False]
    assert report.adjusted["cc_card", "activated not understood, taken for f"] == 1


def test_an_older_schema_lacks_columns_and_comes_over_all_the_same(old, own_engine, home):
    for column in ("credit_notification", "id_group", "status"):
        old.run(f"ALTER TABLE cc_card DROP COLUMN {column}")
    old.run("ALTER TABLE cc_logrefill DROP COLUMN refill_type")
    old.run("ALTER TABLE cc_call DROP COLUMN terminatecauseid")
    old.add("cc_card", id=1, activated="t")
    old.add("cc_card", id=2, activated="f")
    old.add("cc_call", id=1, card_id=1)
    old.add("cc_logrefill", id=1, card_id=1)
    bring(old, own_engine, home)
    assert [r.status for r in rows(own_engine, "SELECT status FROM stream ORDER BY customer_id")] == [1, 0]
    assert rows(own_engine, "SELECT disposition FROM call_record")[0].disposition is None


def test_what_is_no_a2billing_is_said_by_what_is_missing(old, own_engine, home):
    old.run("ALTER TABLE cc_call DROP COLUMN card_id")
    with pytest.raises(Invalid, match="cc_call has no column card_id"):
        bring(old, own_engine, home)
    old.run("DROP TABLE cc_callerid")
    with pytest.raises(Invalid, match="it has no table cc_callerid"):
        bring(old, own_engine, home)


def test_ids_that_ours_cannot_be_get_new_ones(old, own_engine, home):
    for number in (-3, 0, 2**48, 2**62):
        old.add("cc_card", id=number, username=f"u{number}", useralias=f"a{number}", credit=1)
    bring(old, own_engine, home)
    ids = [r.id for r in rows(own_engine, "SELECT id FROM customer ORDER BY id")]
    assert len(ids) == 4
    assert 0 < ids[0] < ids[-1] < 1000
    verify(own_engine)


def test_the_highest_id_that_is_kept_leaves_ids_that_json_holds_exactly(postgres, own_engine, home):
    for number in (0, 2**48 - 1):
        postgres.add("cc_card", id=number, username=f"u{number}", useralias=f"a{number}")
    bring(postgres, own_engine, home)
    kept, new = (r.id for r in rows(own_engine, "SELECT id FROM customer ORDER BY id"))
    assert kept == 2**48 - 1
    assert kept < new < 2**49


def test_taken_with_a_change_are_only_rows_that_this_run_has_taken(old, own_engine, home):
    add_customer(own_engine, home, id=900, username="taken")
    zero = "0000-00-00 00:00:00" if old.is_mysql else "0001-01-01 00:00:00"
    old.add("cc_card", id=1, typepaid=7)
    old.add("cc_card", id=2, typepaid=7, username="taken")
    for number, card in ((1, 1), (2, 404)):
        old.add("cc_call", id=number, card_id=card, stoptime=zero)
        old.add("cc_logrefill", id=number, card_id=card, date=zero)
        old.add(
            "cc_callerid",
            id=number,
            cid=f"090{number}",
            id_cc_card=card,
            **({"activated": "?"} if old.is_mysql else {}),
        )
    prepaid = ("cc_card", "typepaid not understood, taken for prepaid")
    expected = {
        prepaid: 1,
        ("cc_call", "stoptime worked out from sessiontime"): 1,
        ("cc_logrefill", "date made null"): 1,
        **({("cc_callerid", "activated not understood, taken for f"): 1} if old.is_mysql else {}),
    }
    for dry in (True, False):
        found = bring(old, own_engine, home, dry=dry).adjusted
        assert {key: count for key, count in found.items() if key != ("cc_card", "date made null")} == expected
    assert bring(old, own_engine, home).adjusted == {}
    old.run("UPDATE cc_card SET credit = 5 WHERE id = 1")
    assert bring(old, own_engine, home).adjusted[prepaid] == 1


def test_whatever_is_not_taken_or_changed_stands_in_the_csv_file(old, own_engine, home):
    old.add("cc_card", id=1, typepaid=7)
    for number in range(1, 31):
        old.add("cc_call", id=number, card_id=404)
    file = StringIO()
    report = bring(old, own_engine, home, csv=file)
    written = list(csv.DictReader(StringIO(file.getvalue())))
    assert len([r for r in written if (r["table"], r["outcome"]) == ("cc_call", "not taken")]) == 30
    assert ("cc_card", "1", "taken with a change", "typepaid not understood, taken for prepaid") in [
        (r["table"], r["id"], r["outcome"], r["reason"]) for r in written
    ]
    shown = "\n".join(report.lines())
    assert "cc_call: its card was not imported: 30" in shown
    assert "cc_call 20: its card 404 was not imported" in shown
    assert "cc_call 21:" not in shown
    assert "… and 10 more" in shown
