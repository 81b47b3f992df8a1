"""Many commands of one client at once, with an outcome for each in their order.

Each shard's commands are one transaction: a customer's commands stay together and in order, other writers wait for a
slice and not for the whole, and one bad command never fails its neighbours. Or all of them are one transaction, all or
nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, Engine

from service.db.transaction import reading
from service.errors import AmbiguousReference, CustomerNotFound, Refusal, Unavailable
from service.ledger.append import Outcome, append, append_within
from service.ledger.command import Appended, Command
from service.ledger.drain import shard_of
from service.ledger.resolve import SEVERAL, UNKNOWN, resolve_refs


class Refused(Refusal):
    """One command of an all-or-nothing bulk was refused: `number` says which, from 0, and `refusal` why."""

    def __init__(self, number: int, refusal: Refusal) -> None:
        super().__init__(f"commands[{number}]: {refusal.sentence}")
        self.number = number
        self.refusal = refusal


def resolve(engine: Engine, commands: Sequence[Command]) -> list[int]:
    """The customers that one client's commands mean: an id each, or UNKNOWN, or SEVERAL."""
    if not commands:
        return []
    with reading(engine) as connection:
        means = resolve_refs(connection, commands[0].caller.client_id, (command.ref for command in commands))
    return [means[command.ref] for command in commands]


def append_slices(
    engine: Engine, commands: Sequence[Command], customers: Sequence[int], *, again: bool = False
) -> list[Outcome]:
    """Carry out commands of the customers that `resolve` found, each shard's in a transaction of its own; an outcome
    for each, in order.

    With `again`, those that were carried out before are found by their ids. A slice that the database could not take
    now has Unavailable for outcomes.
    """
    outcomes: dict[int, Outcome] = {}
    slices: dict[int, list[int]] = defaultdict(list)
    for number, (command, customer) in enumerate(zip(commands, customers, strict=True)):
        if customer in {UNKNOWN, SEVERAL}:
            outcomes[number] = AmbiguousReference(command.ref) if customer == SEVERAL else CustomerNotFound()
        else:
            slices[shard_of(customer)].append(number)
    for _, numbers in sorted(slices.items()):
        there = [replace(commands[number], ref=f"id:{customers[number]}") for number in numbers]
        try:
            done = append(engine, there, again=again)
        except Unavailable as unavailable:
            done = [unavailable] * len(there)
        outcomes.update(zip(numbers, done, strict=True))
    return [outcomes[number] for number in range(len(commands))]


def append_all(tx: Connection, commands: Sequence[Command]) -> list[Appended]:
    """Carry out all commands within a transaction. Raises Refused, after which it has to be given up."""
    done = []
    for number, outcome in enumerate(append_within(tx, commands)):
        if isinstance(outcome, Refusal):
            raise Refused(number, outcome)
        done.append(outcome)
    return done
