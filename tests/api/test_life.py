"""A customer's whole life over HTTP, against a model of plain arithmetic: every command, by several clients, in any
order, with retries, preconditions and payments' numbers, and with workers that come by now and then."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from sqlalchemy import text

from service import clock
from service.access.keys import create_client
from service.db.transaction import transaction
from service.ledger.drain import SHARDS, drain
from service.ledger.holds import expire_holds
from service.ledger.proof.history import Selection
from service.ledger.proof.verify import verify
from service.webhooks.owe import owe
from tests.support.client import Answer, ApiClient, api_client
from tests.support.ledger import all_of, apply_everything, assert_applied, assert_sound
from tests.support.life_draws import BIGGEST, BULK, CID, MANNER, MAYBE, NAMED, NUMBERED, POSITIVE, SIGNED, WHO
from tests.support.life_model import NAMES, Account, Book, Done, Refused, Why, spelled, without_doubles

KEPT = {200, 404, 409, 412}
OTHER_REQUEST = "Idempotency-Key: used already for another request"
MOST_CUSTOMERS = 5
FEW = settings(
    derandomize=True, max_examples=50, stateful_step_count=50, deadline=None, suppress_health_check=[*HealthCheck]
)


@dataclass
class Client:
    """One client: how it calls, what it should have, and the answers that it was given by key."""

    api: ApiClient
    book: Book = field(default_factory=Book)
    kept: dict[str, tuple[tuple[str, str, Any], dict[str, str], Answer]] = field(default_factory=dict)


class Life(RuleBasedStateMachine):
    app = engine = None
    numbers = count()

    @initialize()
    def begin(self):
        self.good, self.lapsed = False, []
        clients = [create_client(self.engine, f"life {uuid.uuid4()}") for _ in range(2)]
        self.clients = [Client(api_client(self.app, self.engine, client)) for client in clients]
        for client in self.clients * 2:
            self.make(client, {"username": f"{len(client.book.accounts):010}", "credit": Decimal(30)}, {})
        self.good = True

    # What is asked for

    @rule(who=WHO, named=NAMED, credit=SIGNED, manner=MANNER)
    def set_credit(self, who, named, credit, manner):
        client, account = self.pick(who)
        ref = named.format(account)
        self.ask(client, account, "PUT", f"/v1/customer/{ref}/credit", {"credit": credit}, manner,
                 lambda why: client.book.set_credit(ref, credit, why), lambda _: {})  # fmt: skip

    @rule(who=WHO, named=NAMED, amount=SIGNED, manner=MANNER)
    def add_credit(self, who, named, amount, manner):
        client, account = self.pick(who)
        ref = named.format(account)
        self.ask(client, account, "PUT", f"/v1/customer/{ref}/credit/add", {"credit": amount}, manner,
                 lambda why: client.book.add_credit(ref, amount, why),
                 lambda done: {"credit": done.account.credit})  # fmt: skip

    @rule(who=WHO, named=NAMED, status=st.sampled_from([*NAMES]), manner=MANNER)
    def set_status(self, who, named, status, manner):
        client, account = self.pick(who)
        ref = named.format(account)
        self.ask(client, account, "PUT", f"/v1/customer/{ref}/status", {"status": status}, manner,
                 lambda why: client.book.set_status(ref, status, why), lambda _: {})  # fmt: skip

    @rule(who=WHO, limits=st.dictionaries(st.sampled_from(["limit", "notification"]), MAYBE, min_size=1), manner=MANNER)
    def set_limits(self, who, limits, manner):
        client, account = self.pick(who)
        self.ask(client, account, "PUT", f"/v1/customer/{account.id}/limit",
                 {f"credit_{name}": amount for name, amount in limits.items()}, manner,
                 lambda why: client.book.set_limits(str(account.id), limits, why),
                 lambda done: {"available": done.account.available})  # fmt: skip

    @rule(who=WHO, named=NAMED, amount=POSITIVE, manner=MANNER)
    def hold(self, who, named, amount, manner):
        client, account = self.pick(who)
        ref = named.format(account)
        self.ask(client, account, "POST", f"/v1/customer/{ref}/hold", {"amount": amount, "expires_in": 3600}, manner,
                 lambda why: client.book.hold(ref, amount, why),
                 lambda done: {"id": f"hold_{account.id}_{done.seq}", "customer_id": str(account.id), "amount": amount,
                               "available": done.account.available})  # fmt: skip

    @rule(who=WHO, which=WHO, share=st.none() | st.sampled_from(["0.5", "1", "1.5"]), manner=MANNER)
    def capture(self, who, which, share, manner):
        client, account, seq = self.pick_hold(who, which)
        amount = share and (account.holds[seq].amount * Decimal(share)).quantize(Decimal("0.00001"))
        if share and not 0 < amount < BIGGEST:
            return
        body = {} if amount is None else {"amount": amount}
        self.ask(client, account, "PUT", f"/v1/hold/hold_{account.id}_{seq}/capture", body, manner,
                 lambda why: client.book.capture(account.id, seq, amount, why), self.closed(account, seq))  # fmt: skip

    @rule(who=WHO, which=WHO, manner=MANNER)
    def release(self, who, which, manner):
        client, account, seq = self.pick_hold(who, which)
        self.ask(client, account, "PUT", f"/v1/hold/hold_{account.id}_{seq}/release", {}, manner,
                 lambda why: client.book.release(account.id, seq, why), self.closed(account, seq))  # fmt: skip

    @rule(who=WHO, which=WHO)
    def lapse(self, who, which):
        client, account, seq = self.pick_hold(who, which)
        hold = account.holds[seq]
        if hold.end is None and not hold.lapsed:
            self.lapsed.append((client, account.id, seq, self.ends_at(account.id, seq, clock.now())))
            client.book.lapse(account.id, seq)
            self.look(client, account)

    @rule()
    def expire(self):
        all_of(expire_holds, self.engine)
        for client, customer, seq, moment in self.lapsed:
            self.ends_at(customer, seq, moment)  # as its event has it
            client.book.expire(customer, seq)
        for client, customer, _, _ in self.lapsed:
            self.look(client, client.book.accounts[customer])
        self.lapsed = []

    def ends_at(self, customer, seq, moment):
        """Move the end of a hold; where it was before."""
        place = {"id": customer, "seq": seq}
        with transaction(self.engine) as tx:
            before = tx.scalar(text("SELECT expires_at FROM hold WHERE (customer_id, seq) = (:id, :seq)"), place)
            change = text("UPDATE hold SET expires_at = :moment WHERE (customer_id, seq) = (:id, :seq)")
            tx.execute(change, {**place, "moment": moment})
        return before

    @rule(who=WHO, back=WHO, any_kind=st.booleans(), amounts=st.lists(MAYBE, min_size=1, max_size=3), manner=MANNER)
    def reverse(self, who, back, any_kind, amounts, manner):
        client, account = self.pick(who)
        fit = [n for n, entry in enumerate(account.entries, 1) if any_kind or entry.delta] or [1]
        seq = fit[-1 - back % len(fit)]
        event_id = f"evt_{account.id}_{seq}"
        for amount, how in zip(amounts, [manner, {}, {}], strict=False):
            body = {"reason": "paid twice", **({} if amount is None else {"amount": amount})}
            self.ask(client, account, "POST", f"/v1/event/{event_id}/reversal", body, how,
                     lambda why, amount=amount: client.book.reverse(account.id, seq, amount, why),
                     lambda done: {"credit": done.account.credit, "event_id": done.event_id,
                                   "reverses": event_id})  # fmt: skip

    @rule(who=WHO, cid=CID, moves=st.booleans(), manner=MANNER)
    def caller_id(self, who, cid, moves, manner):
        client, account = self.pick(who)
        ways = {
            True: ("PUT", f"/v1/callerid/{cid}", {}, client.book.move),
            False: ("POST", "/v1/callerid", {"cid": cid}, client.book.give),
        }
        method, path, body, way = ways[moves]
        self.ask(client, None, method, path, {"user_id": str(account.id), **body}, manner,
                 lambda why: way(cid, account.id, why),
                 lambda _: {"id": None, "cid": cid, "user_id": str(account.id)})  # fmt: skip
        for each in client.book.accounts.values():
            self.look(client, each)

    @rule(who=WHO, number=st.integers(0, 6), cid=st.none() | CID, credit=SIGNED, limit=MAYBE, low=MAYBE, manner=MANNER)
    def create(self, who, number, cid, credit, limit, low, manner):
        client = self.clients[who % 2]
        if len(client.book.accounts) < MOST_CUSTOMERS:
            body = {"username": f"{number:010}", "cid": cid, "credit": credit, "credit_limit": limit,
                    "credit_notification": low, "type_paid": int(limit is not None)}  # fmt: skip
            self.make(client, body, manner)

    @rule(who=WHO, parts=BULK, atomic=st.booleans(), key=st.none() | NUMBERED, fresh=st.booleans())
    def bulk(self, who, parts, atomic, key, fresh):
        client = self.clients[who % 2]
        made = without_doubles([self.command(client, *part, fresh) for part in parts])
        body = {"commands": [command for command, _ in made], "atomic": atomic}
        carry_out = client.book.all_of if atomic else client.book.each_of
        self.ask(client, None, "POST", "/v1/ledger/bulk", body, {"key": key},
                 lambda _: carry_out([do for _, do in made]), None)  # fmt: skip
        for each in client.book.accounts.values():
            self.look(client, each)

    # What is asked for again, or by somebody who has no business with it

    @precondition(lambda self: any(client.kept for client in self.clients))
    @rule(which=st.integers(0, 100), whose=WHO)
    def retry(self, which, whose):
        client = self.clients[whose % 2]
        if client.kept:
            self.replay(client, sorted(client.kept)[which % len(client.kept)])

    @rule(who=WHO, number=st.integers(0, 9))
    def foreign(self, who, number):
        client, account = self.pick(who)
        other = self.clients[self.clients[0] is client].api
        hold, event = f"hold_{account.id}_{max(account.holds, default=1)}", f"evt_{account.id}_1"
        answers = [
            other.put(f"/v1/customer/{account.id}/credit", {"credit": number}),
            other.put(f"/v1/customer/id:{account.id}/credit/add", {"credit": number}),
            other.post(f"/v1/customer/{account.id}/hold", {"amount": 1, "expires_in": 60}),
            other.put(f"/v1/hold/{hold}/release"),
            other.post(f"/v1/event/{event}/reversal", {"reason": "not mine"}),
            other.get(f"/v1/event/{event}"),
            other.get(f"/v1/customer/{account.id}/event"),
        ]
        assert [answer.status for answer in answers] == [404] * len(answers)
        self.look(client, account)

    @rule(shard=st.integers(0, SHARDS - 1))
    def work(self, shard):
        drain(self.engine, shard, owe)

    # How it is asked, and what must come back

    def pick(self, who: int) -> tuple[Client, Account]:
        client = self.clients[who % 2]
        accounts = [*client.book.accounts.values()]
        return client, accounts[who // 2 % len(accounts)]

    def pick_hold(self, who: int, which: int) -> tuple[Client, Account, int]:
        client, account = self.pick(who)
        if not account.holds:  # so that one who knows of no hold has one
            self.hold(who, "{0.id}", Decimal(1), {})
        seqs = sorted(account.holds, reverse=True)
        if seqs:
            return client, account, seqs[which % len(seqs)]
        self.set_credit(who, "{0.id}", Decimal(50), {})
        return self.pick_hold(who, which)

    def closed(self, account, seq):
        return lambda done: {
            "id": f"hold_{account.id}_{seq}",
            "customer_id": str(account.id),
            "credit": done.account.credit,
            "available": done.account.available,
        }

    def make(self, client, body, manner):
        def carry_out(why):
            client.book.check_new(body["username"], body.get("cid"), why)

        def there(done):
            return {"username": body["username"], "cid": body.get("cid"), "status": 1}

        self.ask(client, None, "POST", "/v1/customer", body, manner, carry_out, there)

    def command(self, client, kind, who, amount, numbered, fresh):
        accounts = [*client.book.accounts.values()]
        ref = str(accounts[who % len(accounts)].id) if kind != "foreign" else "nobody"
        reference = f"bulk-{next(self.numbers)}" if fresh else next(iter(client.book.references), None)
        why = Why(reference if numbered else None)
        said = {"customer": ref, **({"reference": why.reference} if why.reference else {})}
        name = [*NAMES][who % len(NAMES)]
        if kind == "strange":
            return {"type": "strange"}, None
        if kind == "status":
            return {"type": kind, "status": name, **said}, lambda: client.book.set_status(ref, name, why)
        if kind == "set":
            return {"type": kind, "credit": amount, **said}, lambda: client.book.set_credit(ref, amount, why)
        return {"type": "add", "credit": amount, **said}, lambda: client.book.add_credit(ref, amount, why)

    def ask(self, client, account, method, path, body, manner, carry_out, shape):
        """Send a request, have the model do the same, and compare."""
        self.good = False
        body = dict(body)
        seq = self.expected_seq(account, manner.get("match"))
        if manner.get("reference") is not None:
            body["reference"] = f"payment-{manner['reference']}"
        headers = {} if seq is None else {"If-Match": "*" if seq == "*" else f'"{seq}"'}
        key = None if manner.get("key") is None else f"key-{manner['key']}"
        request = (method, path, body)
        if key in client.kept:
            if spelled(client.kept[key][0]) != spelled(request):
                assert self.send(client, request, {**headers, "Idempotency-Key": key}).status == 422
            else:
                self.replay(client, key)
        else:
            headers |= {} if key is None else {"Idempotency-Key": key}
            why = Why(body.get("reference"), None if seq == "*" else seq)
            answer = self.compare(client, request, headers, lambda: carry_out(why), shape, why)
            if key is not None and answer.status in KEPT:
                client.kept[key] = (request, headers, answer)
                self.replay(client, key)
        if account is not None:
            self.look(client, client.book.accounts[account.id])
        self.good = True

    def expected_seq(self, account, match):
        if account is None or match is None:
            return None
        return {"fresh": account.seq, "stale": account.seq - 1, "*": "*"}[match]

    def compare(self, client, request, headers, carry_out, shape, why):
        answer = self.send(client, request, headers)
        assert "Idempotency-Replayed" not in answer.headers
        try:
            done, refused = carry_out(), None
        except Refused as refusal:
            refused = refusal
        if refused is not None:
            assert (answer.status, answer.error) == (refused.status, refused.sentence)
            return answer
        assert answer.status == 200, answer.body
        if request[1] == "/v1/customer":
            done = self.created(client, request[2], answer, why)
        if isinstance(done, Done):
            fixed = {"id": str(done.account.id), "message": "successfully", **shape(done)}
            shown = answer.json
            shown.pop("expires_at", None)
            assert shown == {name: value for name, value in fixed.items() if value is not None or name == "cid"}
            assert answer.headers.get("ETag") == (f'"{done.account.seq}"' if done.seq else None)
            assert answer.headers.get("Ledger-Event") == (done.event_id if done.seq else None)
        else:
            assert answer.json == done
        return answer

    def created(self, client, body, answer, why):
        account = Account(int(answer.json["id"]), body["username"], 1)
        account.limit, account.notification = body.get("credit_limit"), body.get("credit_notification")
        return client.book.create(account, body.get("cid"), body["credit"], why)

    def send(self, client, request, headers):
        method, path, body = request
        return client.api.call(method, path, raw=spelled(body).encode(), headers=headers)

    def replay(self, client, key):
        (method, path, body), headers, first = client.kept[key]
        turned = dict(reversed(body.items()))
        again = self.send(client, (method, path, turned), headers)
        assert (again.status, again.body) == (first.status, first.body)
        assert again.headers["Idempotency-Replayed"] == "true"
        for name in ("ETag", "Ledger-Event", "Content-Type"):
            assert again.headers.get(name) == first.headers.get(name)
        other = self.send(client, (method, path, {**body, "reason": "another"}), headers)
        assert (other.status, other.error) == (422, OTHER_REQUEST)

    def look(self, client, account):
        """What is shown is what was accepted."""
        shown = client.api.get(f"/v1/customer/{account.id}")
        assert shown.headers["ETag"] == f'"{account.seq}"'
        assert (shown.json["credit"], shown.json["status"]) == (account.credit, account.status)
        assert shown.json["creditlimit"] == account.limit
        numbers = sorted(cid for cid, owner in client.book.owners.items() if owner == account.id)
        assert [each["cid"] for each in shown.json["caller_ids"]] == numbers
        balance = client.api.get(f"/v1/customer/{account.id}/balance")
        assert balance.headers["ETag"] == f'"{account.seq}"'
        del (told := balance.json)["at"]
        assert told == {
            "id": str(account.id),
            "credit": account.credit,
            "held": account.held - account.lapsed,
            "creditlimit": account.limit,
            "available": account.available,
            "credit_notification": account.notification,
            "status": account.status,
            "seq": account.seq,
        }

    def teardown(self):
        if getattr(self, "good", False):
            self.expire()
            apply_everything(self.engine)
            for client in self.clients:
                for account in client.book.accounts.values():
                    assert_sound(self.engine, account.id)
                    assert_applied(self.engine, account.id)
                    self.look(client, account)
                    self.assert_statement(client, account)
                verify(self.engine, Selection(client_id=client.api.client_id))

    def assert_statement(self, client, account):
        answer = client.api.get(f"/v1/customer/{account.id}/event?order=asc&limit=1000").json
        fields = ("kind", "delta", "balance_after", "held", "status", "reference", "refers_to")
        assert answer["next"] is None
        assert [tuple(each[name] for name in fields) for each in answer["data"]] == [
            (e.kind, e.delta, e.balance, e.held, e.status, e.reference,
             e.refers_to and f"evt_{account.id}_{e.refers_to}") for e in account.entries
        ]  # fmt: skip


def test_a_customers_life_is_what_the_model_says(app, engine):
    Life.app, Life.engine = app, engine
    run_state_machine_as_test(Life, settings=FEW)
    assert Life.engine is engine
