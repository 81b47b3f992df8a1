"""The calls of a file are charged once, however often, in whatever pieces and by how many at once it is brought."""

from __future__ import annotations

import io
import random
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from service.calls.file import bring as bring_module
from service.calls.file import legs as legs_module
from service.calls.file.bring import BATCH, import_calls
from service.calls.file.layout import needs_header, read_mapping
from service.calls.file.price import Rate
from service.calls.file.rows import Form, read_calls
from service.calls.ingest import ingest
from service.db.transaction import transaction
from service.errors import Unavailable
from service.ledger.command import Caller
from service.ledger.drain import shard_of
from tests.support.cdr import cdr_line
from tests.support.ledger import assert_sound, events, rows, stream
from tests.support.parallel import at_once

UTC = ZoneInfo("UTC")
CREDIT = Decimal(10**6)


@pytest.fixture
def payer(new_customer):
    return new_customer(username="0906237580", credit=CREDIT, caller_ids=["0281"])


@pytest.fixture
def bring(engine, client_id):
    """Brings a file at a credit unit a second; what became of it in all, and the refused lines."""

    def bring(content, mapping=(), *, dry_run=False, rate=60, **options):
        mapping = read_mapping(mapping)
        priced = None if "amount" in mapping else Rate(Decimal(rate), 1)
        form = Form(UTC, mapping, needs_header(mapping), rate=priced, **options)
        read = read_calls(io.BytesIO(content.encode()), form)
        batches = list(
            import_calls(engine, Caller(client_id, "import"), read.lines, legs_given=read.legs_given, dry_run=dry_run)
        )
        total = {name: sum(getattr(batch, name) for batch in batches) for name in COUNTS}
        return total | {"refused": [each for batch in batches for each in batch.refused]}

    return bring


COUNTS = ("lines", "stored", "charged", "duplicates", "unmatched")


def outcome(stored=0, charged=0, duplicates=0, unmatched=0, refused=()):
    lines = stored + duplicates + len(refused)
    return {
        "lines": lines, "stored": stored, "charged": charged, "duplicates": duplicates, "unmatched": unmatched,
        "refused": list(refused),
    }  # fmt: skip


def legs(engine, client_id):
    found = rows(engine, "SELECT uniqueid, leg FROM call_record WHERE client_id = :c ORDER BY 1, 2", c=client_id)
    return [tuple(row) for row in found]


def test_calls_are_charged_by_the_import_and_a_second_time_not_at_all(bring, engine, payer):
    content = "".join(cdr_line(billsec=seconds) for seconds in (10, 0, 25))
    assert bring(content) == outcome(stored=3, charged=35)
    assert bring(content) == outcome(duplicates=3)
    assert stream(engine, payer).balance == CREDIT - 35
    assert {(event.kind, event.actor) for event in events(engine, payer)[1:]} == {("call.charged", "import")}
    assert_sound(engine, payer)


def test_a_line_of_nobody_is_kept_and_one_of_a_customer_that_is_not_there_refused(bring, payer):
    assert bring(cdr_line(src="0999")) == outcome(stored=1, unmatched=1)
    lines = cdr_line(accountcode="nobody") + cdr_line(accountcode="0906237580", src="0999", billsec=5) + cdr_line()
    assert bring(lines, ["customer=accountcode"]) == outcome(stored=2, charged=43, refused=[(1, "customer not found")])


def test_a_customer_whose_text_is_also_anothers_is_told_apart_by_what_it_is(bring, engine, payer, new_customer):
    other = new_customer(credit=CREDIT, caller_ids=["0906237580"])
    line = cdr_line(accountcode="0906237580", billsec=5)
    assert "means more than one customer" in bring(line, ["customer=accountcode"])["refused"][0][1]
    assert bring(line, ["customer=accountcode"], customer_by="username") == outcome(stored=1, charged=5)
    assert (stream(engine, payer).balance, stream(engine, other).balance) == (CREDIT - 5, CREDIT)


def test_several_batches_tell_which_shards_have_work(engine, client_id, payer):
    read = read_calls(io.BytesIO("".join(cdr_line() for _ in range(BATCH + 1)).encode()), Form(UTC, {}, rate=Rate(60)))
    batches = list(import_calls(engine, Caller(client_id, "import"), read.lines, legs_given=False))
    assert [batch.stored for batch in batches] == [BATCH, 1]
    assert {batch.shards for batch in batches} == {frozenset({shard_of(payer)})}


class TestLegs:
    def test_lines_of_one_uniqueid_are_its_legs(self, bring, engine, client_id, payer):
        lines = [cdr_line(uniqueid="1.1", dst=dst) for dst in ("111", "222", "333")]
        assert bring("".join(lines)) == outcome(stored=3, charged=3 * 38)
        assert legs(engine, client_id) == [("1.1", 0), ("1.1", 1), ("1.1", 2)]
        assert bring("".join(reversed(lines))) == outcome(duplicates=3)

    def test_the_same_line_twice_in_a_file_is_one_call(self, bring, payer):
        line = cdr_line(uniqueid="1.1")
        assert bring(line * 3) == outcome(stored=1, charged=38, duplicates=2)

    def test_rotated_files_that_overlap(self, bring, engine, client_id, payer):
        lines = [cdr_line(uniqueid=f"1.{number // 3}", dst=f"{number}", billsec=number) for number in range(60)]
        assert bring("".join(lines[:40]))["charged"] == sum(range(40))
        assert bring("".join(lines[20:])) == outcome(stored=20, charged=sum(range(40, 60)), duplicates=20)
        assert bring("".join(lines)) == outcome(duplicates=60)
        assert legs(engine, client_id) == sorted((f"1.{number // 3}", number % 3) for number in range(60))

    def test_in_other_pieces_and_another_order(self, bring, payer, monkeypatch):
        monkeypatch.setattr(bring_module, "BATCH", 7)
        lines = [cdr_line(uniqueid=f"1.{number % 9}", dst=f"{number}", billsec=1) for number in range(50)]
        assert bring("".join(lines[:33])) == outcome(stored=33, charged=33)
        random.Random(1).shuffle(lines)
        assert bring("".join(lines)) == outcome(stored=17, charged=17, duplicates=33)

    def test_what_is_there_at_another_price_is_refused_not_charged_again(self, bring, engine, payer):
        line = cdr_line(uniqueid="1.1")
        bring(line)
        reason = "uniqueid '1.1', leg 0: is there already, at another amount or customer"
        assert bring(line, rate=120) == outcome(refused=[(1, reason)])
        assert bring(line, ["customer=src"]) == outcome(refused=[(1, reason)])
        assert stream(engine, payer).balance == CREDIT - 38

    def test_a_leg_that_the_file_gives_is_another_call_only_under_another_number(self, bring, engine, client_id, payer):
        mapping = ["uniqueid=1", "leg=2", "source=3", "destination=4", "start_time=5", "duration=6"]
        first, second = "7,0,0281,113,2024-05-06 07:08:09,5\n", "7,4,0281,113,2024-05-06 07:08:09,5\n"
        assert bring(first + second + second, mapping) == outcome(stored=2, charged=10, duplicates=1)
        assert legs(engine, client_id) == [("7", 0), ("7", 4)]
        assert bring(first.replace("113", "114"), mapping) == outcome(
            refused=[(1, "uniqueid '7', leg 0: another call is known by it already")]
        )
        without = [pair for pair in mapping if not pair.startswith("leg")]
        assert bring(first.replace("113", "114") + second, without) == outcome(stored=1, charged=5, duplicates=1)
        assert legs(engine, client_id) == [("7", 0), ("7", 4), ("7", 5)]

    def test_lines_without_a_uniqueid_are_known_again(self, bring, payer):
        content = "".join(cdr_line(uniqueid=None, billsec=1) for _ in range(5))
        assert bring(content) == outcome(stored=5, charged=5)
        assert bring(content) == outcome(duplicates=5)

    def test_a_leg_that_somebody_takes_meanwhile_is_not_given_twice(self, bring, engine, client_id, payer, monkeypatch):
        theirs = "".join(cdr_line(uniqueid="1.1", dst="999", billsec=3))
        meanwhile = [next(read_calls(io.BytesIO(theirs.encode()), Form(UTC, {}, rate=Rate(Decimal(60), 1))).lines).call]

        def as_the_api_may(tx, caller, calls):
            while meanwhile:
                with transaction(engine) as other:
                    ingest(other, Caller(client_id, "key:1"), [meanwhile.pop()])
            return ingest(tx, caller, calls)

        monkeypatch.setattr(bring_module, "ingest", as_the_api_may)
        mine = cdr_line(uniqueid="1.1", dst="111", billsec=5)
        assert bring(mine + theirs) == outcome(stored=1, charged=5, duplicates=1)
        assert stream(engine, payer).balance == CREDIT - 8
        assert legs(engine, client_id) == [("1.1", 0), ("1.1", 1)]


class TestPrices:
    def test_a_column_of_amounts(self, bring, engine, payer):
        content = (
            "src,dst,start,billsec,price\n0281,113,2024-05-06 07:08:09,38,0.00001\n0281,114,2024-05-06 07:08:09,38,12\n"
        )
        assert bring(content, ["amount=price"]) == outcome(stored=2, charged=Decimal("12.00001"))
        assert stream(engine, payer).balance == CREDIT - Decimal("12.00001")

    def test_a_charge_that_no_balance_can_hold_is_refused_and_its_neighbours_taken(self, bring, engine, payer):
        much = "9999999999.99999"
        lines = "".join(cdr_line(uniqueid="1.1", dst=f"{each}", userfield=much) for each in range(3))
        found = bring(lines + cdr_line(userfield="5"), ["amount=userfield"])
        assert found["charged"] == Decimal(much) + 5
        reason = "the balance would have more than 10 digits before the point"
        assert found["refused"] == [(2, reason), (3, reason)]


def test_a_dry_run_tells_the_same_and_writes_nothing(bring, engine, client_id, payer):
    content = cdr_line(uniqueid="1.1") * 2 + cdr_line(src="0999") + cdr_line(billsec=-1)
    told = bring(content, dry_run=True)
    assert legs(engine, client_id) == []
    assert not rows(engine, "SELECT FROM call_leg WHERE client_id = :c", c=client_id)
    assert stream(engine, payer).balance == CREDIT
    assert bring(content) == told
    assert bring(content, dry_run=True)["duplicates"] == 3


def test_imports_of_the_same_file_at_once_charge_each_call_once(bring, engine, payer, monkeypatch):
    monkeypatch.setattr(bring_module, "BATCH", 20)
    lines = [cdr_line(uniqueid=f"1.{number % 40}", dst=f"{number}", billsec=1) for number in range(200)]
    shuffled = random.Random(2).sample(lines, len(lines))
    found = at_once(*(lambda order=order: bring("".join(order)) for order in (lines, lines, shuffled)))
    assert sum(each["stored"] for each in found) == 200
    assert sum(each["duplicates"] for each in found) == 400
    assert stream(engine, payer).balance == CREDIT - 200
    assert_sound(engine, payer)


def test_a_batch_is_tried_again_when_the_database_was_away(bring, payer, monkeypatch):
    monkeypatch.setattr(bring_module, "PAUSE", 0)
    failures = [Unavailable(), Unavailable()]

    def at_last(tx, caller, calls):
        if failures:
            raise failures.pop()
        return ingest(tx, caller, calls)

    monkeypatch.setattr(bring_module, "ingest", at_last)
    assert bring(cdr_line()) == outcome(stored=1, charged=38)


def test_a_database_that_stays_busy_is_said_and_the_file_can_be_brought_later(
    bring, engine, client_id, payer, monkeypatch
):
    monkeypatch.setattr(bring_module, "PAUSE", 0)
    monkeypatch.setattr(legs_module, "TURN_TIMEOUT", "10ms")
    with transaction(engine) as tx:
        legs_module.take_turn(tx, client_id)
        with pytest.raises(Unavailable):
            bring(cdr_line())
    assert bring(cdr_line())["stored"] == 1
