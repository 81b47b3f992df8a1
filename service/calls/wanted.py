"""Which calls are wanted: a client's, of a period, narrowed down. One set of conditions for lists, sums and exports."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace

from sqlalchemy import ColumnElement, Connection, Engine

from service.calls.period import Period
from service.db.transaction import reading
from service.errors import AmbiguousReference, CustomerNotFound
from service.ledger.resolve import SEVERAL, UNKNOWN, resolve_refs
from service.models import CallRecord


@dataclass(frozen=True, slots=True)
class Wanted:
    """Calls of a client that began in a period (None: at any time), narrowed down by what is not None.

    `destination` is the beginning of a number, `min_duration` in seconds; `unmatched`: only those that nobody was
    charged for because nobody was known.
    """

    client_id: uuid.UUID
    when: Period | None
    source: str | None = None
    customer_id: int | None = None
    destination: str | None = None
    disposition: str | None = None
    min_duration: int | None = None
    unmatched: bool = False

    @property
    def whole_period(self) -> Period | None:
        """The period, if all of its calls are wanted: then they are counted already."""
        return self.when if self == Wanted(self.client_id, self.when) else None

    @property
    def indexed(self) -> Wanted:
        """The same as far as an index finds it in the order of lists; the rest has to be looked for in that."""
        customer = self.customer_id if self.source is None else None
        return Wanted(self.client_id, self.when, self.source, customer, unmatched=self.unmatched)

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """What a row of `call_record` has to fulfil."""
        yield CallRecord.client_id == self.client_id
        if self.when is not None:
            yield CallRecord.start_time.between(self.when.start, self.when.end)
        if self.source is not None:
            yield CallRecord.source == self.source
        if self.customer_id is not None:
            yield CallRecord.customer_id == self.customer_id
        if self.destination is not None:
            yield CallRecord.destination.startswith(self.destination, autoescape=True)
        if self.disposition is not None:
            yield CallRecord.disposition == self.disposition
        if self.min_duration is not None:
            yield CallRecord.duration >= self.min_duration
        if self.unmatched:
            yield CallRecord.customer_id.is_(None)


def of_customer(engine: Engine, wanted: Wanted, ref: str) -> Wanted:
    """The same of one customer's calls. Raises CustomerNotFound, AmbiguousReference."""
    with reading(engine) as connection:
        return of_customer_within(connection, wanted, ref)


def of_customer_within(connection: Connection, wanted: Wanted, ref: str) -> Wanted:
    """The same, on a connection that is there."""
    customer = resolve_refs(connection, wanted.client_id, [ref])[ref]
    if customer == SEVERAL:
        raise AmbiguousReference(ref)
    if customer == UNKNOWN:
        raise CustomerNotFound
    return replace(wanted, customer_id=customer)
