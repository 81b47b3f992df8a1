"""The ledger against a model of ten lines: sets and status changes mixed, several customers, drains in between."""

from __future__ import annotations

import uuid
from decimal import Decimal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from service.access.keys import create_client
from service.customers.read import find_customer
from service.ledger.append import append
from service.ledger.command import Caller, set_credit, set_status
from service.ledger.drain import drain
from service.ledger.event import Status
from service.webhooks.owe import owe
from tests.support.client import add_customer
from tests.support.ledger import apply_everything, assert_applied, assert_sound

CREDIT = st.decimals(Decimal("-9999999999.99999"), Decimal("9999999999.99999"), places=5)
WHO = st.integers(0, 2)


class Model:
    """What a customer should have after what was asked."""

    def __init__(self) -> None:
        self.credit, self.status, self.seq = Decimal(0), Status.ACTIVE, 1

    def set_credit(self, credit: Decimal) -> None:
        self.credit, self.seq = credit, self.seq + 1

    def set_status(self, status: Status) -> None:
        self.status, self.seq = status, self.seq + 1


class LedgerMachine(RuleBasedStateMachine):
    engine = None

    @initialize()
    def begin(self):
        self.client = create_client(self.engine, f"machine {uuid.uuid4()}")
        self.caller = Caller(self.client, "machine")
        self.ids = [add_customer(self.engine, self.client) for _ in range(3)]
        self.models = [Model() for _ in self.ids]

    @rule(changes=st.lists(st.tuples(WHO, CREDIT | st.sampled_from(Status)), min_size=1, max_size=6))
    def change(self, changes):
        commands = []
        for who, to in changes:
            if isinstance(to, Status):
                commands.append(set_status(self.caller, f"id:{self.ids[who]}", to))
                self.models[who].set_status(to)
            else:
                commands.append(set_credit(self.caller, f"id:{self.ids[who]}", to))
                self.models[who].set_credit(to)
        append(self.engine, commands)

    @rule(shard=st.integers(0, 15))
    def work(self, shard):
        drain(self.engine, shard, owe)

    @invariant()
    def what_is_shown_is_what_was_accepted(self):
        for customer, model in zip(getattr(self, "ids", []), getattr(self, "models", []), strict=True):
            shown = find_customer(self.engine, self.client, f"id:{customer}")
            assert (shown.credit, shown.status) == (model.credit, model.status)

    def teardown(self):
        if not hasattr(self, "ids"):
            return
        apply_everything(self.engine)
        for customer, model in zip(self.ids, self.models, strict=True):
            assert_sound(self.engine, customer)
            assert_applied(self.engine, customer)
            assert find_customer(self.engine, self.client, f"id:{customer}").credit == model.credit


def test_the_ledger_does_what_the_model_does(engine):
    LedgerMachine.engine = engine
    run_state_machine_as_test(LedgerMachine, settings=settings(max_examples=25, stateful_step_count=15, deadline=None))
    assert LedgerMachine.engine is engine
