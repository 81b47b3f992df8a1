"""A payment's number is booked apart from its event: a booking that was lost is found, and made again."""

from __future__ import annotations

import uuid
from decimal import Decimal

import pytest
from sqlalchemy import text

from service.db.transaction import transaction
from service.errors import ReferenceTaken
from service.ledger.append import append_one
from service.ledger.command import Caller, Why, add_credit
from service.ledger.proof.history import Selection
from service.ledger.proof.rebuild import rebuild
from service.ledger.proof.replay import Break
from service.ledger.proof.verify import verify
from tests.support.ledger import apply_everything


def test_a_booking_that_was_lost_is_found_and_made_again(engine, client_id, customer):
    caller, why = Caller(client_id, "test"), Why(reference=f"R-{uuid.uuid4()}")
    append_one(engine, add_credit(caller, f"id:{customer}", Decimal(1), why))
    apply_everything(engine)
    selection = Selection(customer_id=customer)
    verify(engine, selection)
    with transaction(engine) as tx:
        tx.execute(text("DELETE FROM ledger_reference WHERE client_id = :id"), {"id": client_id})
    with pytest.raises(Break, match="event 2: the event that its reference stands for"):
        verify(engine, selection)
    assert rebuild(engine, selection).booked == 1
    verify(engine, selection)
    with pytest.raises(ReferenceTaken):
        append_one(engine, add_credit(caller, f"id:{customer}", Decimal(1), why))
