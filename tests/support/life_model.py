"""What should become of a client's customers: the contract in plain arithmetic.

Written from the words of the API, not from its SQL. It knows nothing of HTTP but the status codes of refusals, and
nothing of locks, hashes and tables.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

TOO_MUCH = Decimal(10) ** 10
NAMES = {"active": 1, "expired": 5, "cancelled": 0, "suspended": 6}
STRANGE = "type: must be one of set, add, status"


@dataclass(frozen=True)
class GivenTwice:
    """A command of a bulk with the reference of one before it."""

    reference: str

    @property
    def sentence(self) -> str:
        return f"reference '{self.reference}' is given more than once"

    def __call__(self) -> Done:
        raise Refused(409, self.sentence)


def without_doubles(made: list[tuple[Any, Callable[[], Done] | None]]) -> list[tuple[Any, Callable[[], Done] | None]]:
    """The commands of a bulk, of which a reference is the first's that has it."""
    seen: set[str] = set()
    kept: list[tuple[Any, Callable[[], Done] | None]] = []
    for body, carry_out in made:
        reference = body.get("reference") if carry_out is not None else None
        kept.append((body, GivenTwice(reference) if reference in seen else carry_out))
        seen |= {reference} - {None}
    return kept


class Refused(Exception):
    """The contract says no; with this status and this sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


@dataclass(frozen=True)
class Why:
    """A payment's own number, and the seq that the caller goes by."""

    reference: str | None = None
    seq: int | None = None


@dataclass
class Entry:
    """A line of the statement."""

    kind: str
    delta: Decimal
    balance: Decimal
    held: Decimal
    status: int
    refers_to: int | None
    reference: str | None


@dataclass
class Hold:
    """`lapsed`: its time is over, but nobody has said so yet."""

    amount: Decimal
    end: str | None = None
    lapsed: bool = False


@dataclass
class Account:
    """One customer and all that ever happened to it."""

    id: int
    username: str
    status: int
    credit: Decimal = Decimal(0)
    held: Decimal = Decimal(0)
    limit: Decimal | None = None
    notification: Decimal | None = None
    entries: list[Entry] = field(default_factory=list)
    holds: dict[int, Hold] = field(default_factory=dict)
    undone: dict[int, Decimal] = field(default_factory=dict)

    @property
    def seq(self) -> int:
        return len(self.entries)

    @property
    def available(self) -> Decimal:
        return self.left(self.credit, self.held)

    @property
    def lapsed(self) -> Decimal:
        """What is held by holds whose time is over: nothing, really."""
        return sum((hold.amount for hold in self.holds.values() if hold.lapsed and hold.end is None), Decimal(0))

    def left(self, credit: Decimal, held: Decimal) -> Decimal:
        return credit - held + self.lapsed + (self.limit or 0)

    @property
    def low(self) -> bool:
        return self.notification is not None and self.credit < self.notification

    @property
    def exhausted(self) -> bool:
        return self.available <= 0

    def happens(self, kind: str, *, refers_to: int | None = None, reference: str | None = None, **changes: Any) -> int:
        """Write an entry, and the warnings that it leads to behind it; the entry's seq."""
        low, exhausted, credit = self.low, self.exhausted, self.credit
        if kind in {"hold.captured", "hold.released", "hold.expired"}:
            self.holds[refers_to or 0].end = kind.removeprefix("hold.")
        for name, value in changes.items():
            setattr(self, name, value)
        seq = self._write(kind, self.credit - credit, refers_to, reference)
        if kind != "customer.created":
            if self.low and not low:
                self._write("credit.low", Decimal(0), seq, None)
            if self.exhausted and not exhausted:
                self._write("credit.exhausted", Decimal(0), seq, None)
        return seq

    def _write(self, kind: str, delta: Decimal, refers_to: int | None, reference: str | None) -> int:
        self.entries.append(Entry(kind, delta, self.credit, self.held, self.status, refers_to, reference))
        return self.seq

    def permit(self, *, credit: Decimal | None = None, held: Decimal | None = None) -> None:
        """The floor: what takes credit away or holds it must leave nothing negative available."""
        credit = self.credit if credit is None else credit
        held = self.held if held is None else held
        if abs(credit) >= TOO_MUCH or held >= TOO_MUCH:
            raise Refused(409, "the balance would have more than 10 digits before the point")
        if (credit < self.credit or held > self.held) and self.left(credit, held) < 0:
            raise Refused(409, "insufficient credit")


@dataclass
class Done:
    """What was carried out: on whom, and by which entry (none where nothing was to be done)."""

    account: Account
    seq: int | None

    @property
    def event_id(self) -> str:
        return f"evt_{self.account.id}_{self.seq}"


@dataclass
class Book:
    """All customers of one client."""

    accounts: dict[int, Account] = field(default_factory=dict)
    owners: dict[str, int] = field(default_factory=dict)  # of caller ids
    references: dict[str, str] = field(default_factory=dict)  # the event that used each

    def find(self, ref: str) -> Account:
        word = ref.rpartition(":")[2]
        for account in self.accounts.values():
            if word in {str(account.id), account.username} or self.owners.get(word) == account.id:
                return account
        raise Refused(404, "customer not found")

    def set_credit(self, ref: str, credit: Decimal, why: Why) -> Done:
        return self._carry_out(self._admit(self.find(ref), why), why, "credit.set", credit=credit)

    def add_credit(self, ref: str, amount: Decimal, why: Why) -> Done:
        account = self._admit(self.find(ref), why)
        account.permit(credit=account.credit + amount)
        return self._carry_out(account, why, "credit.added", credit=account.credit + amount)

    def set_status(self, ref: str, name: str, why: Why) -> Done:
        return self._carry_out(self._admit(self.find(ref), why), why, "status.set", status=NAMES[name])

    def set_limits(self, ref: str, limits: dict[str, Decimal | None], why: Why) -> Done:
        return self._carry_out(self._admit(self.find(ref), why), why, "limit.set", **limits)

    def hold(self, ref: str, amount: Decimal, why: Why) -> Done:
        account = self._admit(self.find(ref), why)
        account.permit(held=account.held + amount)
        done = self._carry_out(account, why, "hold.created", held=account.held + amount)
        account.holds[done.seq] = Hold(amount)
        return done

    def capture(self, customer: int, seq: int, amount: Decimal | None, why: Why) -> Done:
        account, hold = self._hold(customer, seq, why)
        if hold.lapsed:
            raise Refused(409, f"hold_{customer}_{seq} has expired")
        taken = hold.amount if amount is None else amount
        if taken > hold.amount:
            raise Refused(409, "insufficient credit")
        if abs(account.credit - taken) >= TOO_MUCH:
            raise Refused(409, "the balance would have more than 10 digits before the point")
        return self._close(account, seq, why, "captured", credit=account.credit - taken)

    def release(self, customer: int, seq: int, why: Why) -> Done:
        account, hold = self._hold(customer, seq, why)
        if hold.lapsed:
            raise Refused(409, f"hold_{customer}_{seq} has expired")
        return self._close(account, seq, why, "released")

    def lapse(self, customer: int, seq: int) -> None:
        """The time of a hold is over."""
        self.accounts[customer].holds[seq].lapsed = True

    def expire(self, customer: int, seq: int) -> None:
        """Somebody says so."""
        if self.accounts[customer].holds[seq].end is None:
            self._close(self.accounts[customer], seq, Why(), "expired")

    def reverse(self, customer: int, seq: int, amount: Decimal | None, why: Why) -> Done:
        account = self._owned(customer, "event not found")
        self._admit(account, why)
        if not 1 <= seq <= account.seq:
            raise Refused(404, "event not found")
        entry = account.entries[seq - 1]
        if entry.kind == "credit.reversed" or entry.delta == 0:
            raise Refused(409, f"evt_{customer}_{seq} cannot be reversed")
        rest = abs(entry.delta) - account.undone.get(seq, Decimal(0))
        amount = rest if amount is None else amount
        if rest == 0 or amount > rest:
            raise Refused(409, f"evt_{customer}_{seq} cannot be reversed by more than is left of it")
        credit = account.credit - amount.copy_sign(entry.delta)
        account.permit(credit=credit)
        account.undone[seq] = account.undone.get(seq, Decimal(0)) + amount
        return self._carry_out(account, why, "credit.reversed", credit=credit, refers_to=seq)

    def check_new(self, username: str, cid: str | None, why: Why) -> None:
        """Whether a customer with these names may be made."""
        if any(account.username == username for account in self.accounts.values()):
            raise Refused(409, "username is taken already")
        self._free(cid)
        self._unused(why)

    def create(self, account: Account, cid: str | None, credit: Decimal, why: Why) -> Done:
        self.accounts[account.id] = account
        if cid is not None:
            self.owners[cid] = account.id
        return self._carry_out(account, why, "customer.created", credit=credit)

    def give(self, cid: str, customer: int, why: Why) -> Done:
        account = self._owned(customer, "customer not found")
        self._free(cid)
        self._unused(why)
        self.owners[cid] = customer
        return self._carry_out(account, why, "callerid.added")

    def move(self, cid: str, customer: int, why: Why) -> Done:
        if cid not in self.owners:
            raise Refused(404, "caller id not found")
        gains, loses = self._owned(customer, "customer not found"), self.accounts[self.owners[cid]]
        if gains is loses:
            return Done(gains, None)
        self._unused(why)
        self.owners[cid] = customer
        loses.happens("callerid.removed")
        return self._carry_out(gains, why, "callerid.added")

    def each_of(self, commands: list[Callable[[], Done] | None]) -> dict[str, Any]:
        """The answer to a bulk whose commands stand for themselves; None is one that can't be read."""
        data: list[dict[str, Any]] = []
        for command in commands:
            try:
                done = _strange() if command is None else command()
            except Refused as refused:
                data.append({"status": refused.status, "error": refused.sentence})
            else:
                data.append({"status": 200, "id": str(done.account.id), "message": "successfully",
                             "credit": done.account.credit, "event_id": done.event_id})  # fmt: skip
        good = sum(each["status"] == 200 for each in data)
        return {"data": data, "succeeded": good, "failed": len(data) - good}

    def all_of(self, commands: list[Callable[[], Done] | None]) -> dict[str, Any]:
        """The answer to a bulk that is carried out in whole or not at all."""
        for number, command in enumerate(commands):  # what can't be read is refused before anything is tried
            if command is None:
                raise Refused(400, f"commands[{number}]: {STRANGE}")
            if isinstance(command, GivenTwice):
                raise Refused(409, f"commands[{number}]: {command.sentence}")
        before = copy.deepcopy((self.accounts, self.owners, self.references))
        answer = self.each_of(commands)
        for number, outcome in enumerate(answer["data"]):
            if outcome["status"] != 200:
                self.accounts, self.owners, self.references = before
                raise Refused(outcome["status"], f"commands[{number}]: {outcome['error']}")
        return answer

    def _owned(self, customer: int, otherwise: str) -> Account:
        if customer not in self.accounts:
            raise Refused(404, otherwise)
        return self.accounts[customer]

    def _admit(self, account: Account, why: Why) -> Account:
        self._unused(why)
        if why.seq is not None and why.seq != account.seq:
            raise Refused(412, "the customer has changed since: read it again")
        return account

    def _unused(self, why: Why) -> None:
        if why.reference in self.references:
            first = self.references[why.reference]
            raise Refused(409, f"reference '{why.reference}' was used already, by {first}")

    def _free(self, cid: str | None) -> None:
        if cid in self.owners:
            raise Refused(409, "cid is taken already")

    def _hold(self, customer: int, seq: int, why: Why) -> tuple[Account, Hold]:
        account = self._admit(self._owned(customer, "hold not found"), why)
        if seq not in account.holds:
            raise Refused(404, "hold not found")
        end = account.holds[seq].end
        if end is not None:
            raise Refused(409, f"hold_{customer}_{seq} {'has expired' if end == 'expired' else f'was {end} already'}")
        return account, account.holds[seq]

    def _close(self, account: Account, seq: int, why: Why, end: str, **changes: Decimal) -> Done:
        held = account.held - account.holds[seq].amount
        return self._carry_out(account, why, f"hold.{end}", refers_to=seq, held=held, **changes)

    def _carry_out(self, account: Account, why: Why, kind: str, **changes: Any) -> Done:
        done = Done(account, account.happens(kind, reference=why.reference, **changes))
        if why.reference is not None:
            self.references[why.reference] = done.event_id
        return done


def _strange() -> Done:
    raise Refused(400, STRANGE)


def spelled(value: Any) -> str:
    """JSON text with every digit of a Decimal."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)}: {spelled(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(spelled, value)) + "]"
    return json.dumps(value)
