"""What the ledger holds, read back from the tables themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from sqlalchemy import Engine, Row, text

from service.db.transaction import reading
from service.ledger.command import Appended
from service.ledger.drain import SHARDS, drain
from service.ledger.proof.chain import COLUMNS_AS_TEXT, hash_of
from service.webhooks.owe import owe


def rows(engine: Engine, statement: str, **parameters: Any) -> Sequence[Row[Any]]:
    with reading(engine) as connection:
        return connection.execute(text(statement), parameters).all()


def events(engine: Engine, customer: int) -> Sequence[Row[Any]]:
    return rows(engine, "SELECT * FROM ledger_event WHERE customer_id = :id ORDER BY seq", id=customer)


def change_log(engine: Engine, customer: int) -> Sequence[Row[Any]]:
    return rows(engine, "SELECT * FROM change_log WHERE customer_id = :id ORDER BY seq", id=customer)


def stream(engine: Engine, customer: int) -> Row[Any]:
    return rows(engine, "SELECT * FROM stream WHERE customer_id = :id", id=customer)[0]


def projection(engine: Engine, customer: int) -> Row[Any]:
    return rows(engine, "SELECT * FROM customer WHERE id = :id", id=customer)[0]


def as_text(engine: Engine, customer: int, seq: int) -> dict[str, str | None]:
    """The fields of an event that its hash covers, as the texts that are hashed."""
    statement = f"SELECT {COLUMNS_AS_TEXT} FROM ledger_event WHERE customer_id = :id AND seq = :seq"
    return dict(rows(engine, statement, id=customer, seq=seq)[0]._mapping)


def apply_everything(engine: Engine) -> int:
    """What workers would do, here and now; how many events were applied."""
    applied = 0
    for shard in range(SHARDS):
        while batch := drain(engine, shard, owe).applied:
            applied += len(batch)
    return applied


def assert_sound(engine: Engine, customer: int) -> None:
    """Promises 2, 3 and 4 for one stream: gapless, the sum holds, the chain holds."""
    history, head = events(engine, customer), stream(engine, customer)
    assert [event.seq for event in history] == list(range(1, head.last_seq + 1))
    balance, previous = 0, b""
    for event in history:
        balance += event.delta
        assert event.balance_after == balance
        assert hash_of(previous, as_text(engine, customer, event.seq)) == event.hash
        previous = event.hash
    assert (head.balance, head.last_hash) == (balance, previous)


def assert_applied(engine: Engine, customer: int) -> None:
    """Promise 6 for one customer: one change log row for each event, in order, and the projection at the head."""
    history, log, head = events(engine, customer), change_log(engine, customer), stream(engine, customer)
    assert [(e.seq, e.balance_after, e.status_after) for e in history] == [
        (c.seq, c.credit_after, c.status_after) for c in log
    ]
    assert all(after.credit_before == before.credit_after for before, after in pairwise(log))
    shown = projection(engine, customer)
    assert (shown.credit, shown.status, shown.applied_seq) == (head.balance, head.status, head.last_seq)
    assert not rows(engine, "SELECT FROM outbox WHERE customer_id = :id", id=customer)


def all_of(batch: Callable[[Engine], list[Appended]], engine: Engine) -> list[Appended]:
    """What the clock does turn by turn (`expire_holds`, `expire_customers`), until nothing is left to do."""
    done: list[Appended] = []
    while more := batch(engine):
        done += more
    return done
