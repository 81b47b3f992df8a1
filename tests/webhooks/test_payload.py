import json
import uuid
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from service.ledger.event import Kind, State
from service.webhooks.payload import EVENT_TYPES, event_types, message
from tests.webhooks.queue import applied

CLIENT = uuid.UUID("82ab1e65-aaeb-4ab7-bcd1-d8e4a8aae4ed")


def test_the_message_says_what_happened_to_whom_and_when():
    told = message(
        applied(
            CLIENT,
            customer_id=7,
            seq=42,
            before=State(41, Decimal("10.00000"), 6),
            delta=Decimal("-2.50000"),
            balance_after=Decimal("7.50000"),
            status_after=6,
            reason="Nạp tiền",
            reference="INV-1",
            recorded_at=datetime(2026, 11, 23, 4, 5, 6, 789, tzinfo=UTC),
        ),
        "customer.credit.changed",
    )
    assert json.loads(told.body, parse_float=Decimal) == {
        "type": "customer.credit.changed",
        "timestamp": "2026-11-23T04:05:06.000789Z",
        "data": {
            "event_id": "evt_7_42",
            "customer_id": 7,
            "seq": 42,
            "kind": "credit.set",
            "delta": Decimal("-2.5"),
            "balance_before": 10,
            "balance_after": Decimal("7.5"),
            "status_before": 6,
            "status": 6,
            "reason": "Nạp tiền",
            "reference": "INV-1",
        },
    }


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0.00000", "0"),
        ("-0.00000", "0"),
        ("100.00000", "100"),
        ("0.30000", "0.3"),
        ("-0.00001", "-0.00001"),
        ("9999999999.99999", "9999999999.99999"),
    ],
)
def test_amounts_are_exact_and_whole_ones_are_integers(amount, text):
    body = message(applied(CLIENT, balance_after=Decimal(amount)), "customer.credit.changed").body
    assert f'"balance_after":{text},'.encode() in body


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind != Kind.LIMIT_SET])
def test_every_kind_has_a_public_type_but_the_limits(kind):
    types = event_types(applied(CLIENT, kind=kind.value))
    assert types
    assert set(types) <= EVENT_TYPES
    assert event_types(applied(CLIENT, kind=Kind.LIMIT_SET.value)) == ()


def test_a_capture_is_told_as_the_end_of_a_hold_and_as_a_change_of_the_credit():
    before = State(8, Decimal(5), 1, held=Decimal(3))
    captured = applied(CLIENT, customer_id=7, seq=9, kind=Kind.HOLD_CAPTURED.value, refers_to=8, before=before)
    assert event_types(captured) == ("hold.captured", "customer.credit.changed")
    data = json.loads(message(captured, "hold.captured").body)["data"]
    assert (data["hold_id"], data["held"]) == ("hold_7_8", 0)


def test_a_caller_id_that_moved_and_the_event_that_another_refers_to_are_named():
    added = applied(CLIENT, kind=Kind.CALLERID_ADDED.value, detail={"cid": "+84 912"})
    low = applied(CLIENT, customer_id=7, kind=Kind.CREDIT_LOW.value, refers_to=8)
    assert json.loads(message(added, "callerid.changed").body)["data"]["cid"] == "+84 912"
    assert json.loads(message(low, "customer.credit.low").body)["data"]["refers_to"] == "evt_7_8"


def test_the_id_is_the_same_whenever_it_is_worked_out_and_another_for_anything_else():
    one = applied(CLIENT, seq=1)
    same = {message(one, "customer.created").webhook_id for _ in range(3)}
    others = {
        message(one, "customer.credit.changed").webhook_id,
        message(applied(CLIENT, seq=2), "customer.created").webhook_id,
        message(applied(CLIENT, seq=1, customer_id=2), "customer.created").webhook_id,
        message(applied(uuid.uuid4(), seq=1), "customer.created").webhook_id,
    }
    assert len(same) == 1
    assert len(others | same) == 5
    assert all(i.startswith("msg_") for i in same)


def test_the_largest_message_stays_under_20_kilobytes():
    worst = applied(CLIENT, reason="\x01" * 255, reference="😀" * 64, customer_id=2**63 - 1, seq=2**63 - 1)
    assert len(message(worst, "customer.credit.changed").body) < 20 * 1024
