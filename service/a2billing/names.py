"""Usernames and aliases are each one customer's of a client; who comes second is told so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from service.a2billing.batch import Batch
from service.customers.create import NewCustomer

USERNAME_TAKEN = "username is another customer's"
ALIAS_TAKEN = "useralias is another customer's"


@dataclass(frozen=True, slots=True)
class TakenNames:
    """The names, among those asked for, that somebody has already."""

    usernames: set[str]
    aliases: set[str]

    @classmethod
    def among(cls, tx: Connection, batch: Batch, wanted: Sequence[NewCustomer]) -> TakenNames:
        """Look them up, in the database and in what a rehearsal would have written."""
        usernames = {each.username for each in wanted}
        aliases = {each.useralias for each in wanted}
        owned = set(tx.scalars(_USERNAMES, {"client": batch.client_id, "names": list(usernames)}))
        owned_aliases = set(tx.scalars(_ALIASES, {"client": batch.client_id, "names": list(aliases)}))
        rehearsed = batch.rehearsal
        return cls(
            owned - rehearsed.free_usernames | usernames & rehearsed.usernames,
            owned_aliases - rehearsed.free_aliases | aliases & rehearsed.aliases,
        )

    def take(self, new: NewCustomer) -> str | None:
        """Take both names for a customer: None, or why it can't have them."""
        if new.username in self.usernames:
            return USERNAME_TAKEN
        if new.useralias in self.aliases:
            return ALIAS_TAKEN
        self.usernames.add(new.username)
        self.aliases.add(new.useralias)
        return None


_USERNAMES = text("SELECT username FROM customer WHERE client_id = :client AND username = ANY(CAST(:names AS text[]))")
_ALIASES = text("SELECT useralias FROM customer WHERE client_id = :client AND useralias = ANY(CAST(:names AS text[]))")
