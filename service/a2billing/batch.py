"""What the batches of one run share: for whom, in earnest or not, and what a rehearsal would have written by now."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, text

from service.a2billing.report import Remark
from service.ledger.command import Caller

ACTOR = "import"
NOT_IMPORTED = "its card was not imported"
NOT_THERE_YET = 0  # the customer of a card that a rehearsal would have brought


@dataclass(slots=True)
class Rehearsal:
    """What a dry run would have written. Nothing is in the database for later pages to meet, so it is kept here."""

    cards: set[int] = field(default_factory=set)
    usernames: set[str] = field(default_factory=set)
    aliases: set[str] = field(default_factory=set)
    free_usernames: set[str] = field(default_factory=set)
    free_aliases: set[str] = field(default_factory=set)
    caller_ids: set[str] = field(default_factory=set)

    def take(self, username: str, useralias: str) -> None:
        """These names have an owner now."""
        self.usernames.add(username)
        self.aliases.add(useralias)

    def give_back(self, username: str, useralias: str) -> None:
        """These names are nobody's now, though the database still has them."""
        self.usernames.discard(username)
        self.aliases.discard(useralias)
        self.free_usernames.add(username)
        self.free_aliases.add(useralias)


@dataclass(slots=True)
class Batch:
    """The run that a batch belongs to. `strangers` are cards that are others than those imported under their ids,
    `highest_card` is the highest id that is to be kept.
    """

    client_id: uuid.UUID
    dry: bool = False
    highest_card: int = 0
    rehearsal: Rehearsal = field(default_factory=Rehearsal)
    strangers: set[int] = field(default_factory=set)

    @property
    def caller(self) -> Caller:
        """As whom the ledger is asked."""
        return Caller(self.client_id, ACTOR)

    def customers_of(self, tx: Connection, cards: Iterable[int]) -> Mapping[int, int]:
        """The customer that each card became; cards that were not imported are not in it."""
        wanted = set(cards) - self.strangers
        rows = tx.execute(_CUSTOMERS, {"client": self.client_id, "cards": sorted(wanted)})
        rehearsed = dict.fromkeys(wanted & self.rehearsal.cards, NOT_THERE_YET)
        return rehearsed | {row.card_id: row.customer_id for row in rows}


def without_card(row_id: int, card_id: int) -> Remark:
    """A row whose card is not a customer here."""
    return Remark(row_id, NOT_IMPORTED, f"its card {card_id} was not imported")


_CUSTOMERS = text("""
    SELECT card_id, customer_id FROM imported_card WHERE client_id = :client AND card_id = ANY(CAST(:cards AS bigint[]))
""")
