"""Group commit: requests that come while one is at the door go through it together.

The first to come goes at once, alone; whoever comes while the door is taken goes with the next call, in one transaction
and one round trip. So a lone request pays nothing, and the busier a process is, the less each change costs. A group
never waits for a stream that another session has locked: whose command that is steps out and waits by itself, so a busy
stream holds up nobody else.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

from sqlalchemy import Engine

from service.errors import OutcomeUnknown, Refusal, StreamBusy, Unavailable
from service.ledger.append import Outcome, append, append_one, appended
from service.ledger.command import Appended, Command

PATIENCE = 20.0  # seconds in the queue: longer than the system needs to give up a connection that has gone silent
LARGEST_GROUP = 100  # commands of one call; far more than a process has threads


@dataclass(slots=True, eq=False)
class _Ticket:
    """A command on its way: what came of it, and the bell that calls its thread.

    `leads`: it is this thread's turn to go to the door. `alone`: the group failed, for whatever was in it.
    """

    command: Command
    called: threading.Event = field(default_factory=threading.Event)
    leads: bool = False
    alone: bool = False
    outcome: Outcome | None = None


class GroupCommit:
    """Appends single commands for the threads of one process. Safe to share between them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._waiting: deque[_Ticket] = deque()
        self._taken = False

    def append(self, command: Command) -> Appended:
        """Carry out one command. Raises its Refusal, Unavailable among them."""
        ticket = _Ticket(command)
        with self._lock:
            self._waiting.append(ticket)
            ticket.leads = not self._taken
            self._taken = True
        if not ticket.leads and not ticket.called.wait(PATIENCE):
            self._give_up(ticket)
        if ticket.leads:
            self._lead()
        if ticket.alone or isinstance(ticket.outcome, StreamBusy):
            return append_one(self._engine, command)
        assert ticket.outcome is not None
        return appended(ticket.outcome)

    def _lead(self) -> None:
        """Take everybody who waits through the door, then call them, and the next leader."""
        with self._lock:
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), LARGEST_GROUP))]
        try:
            outcomes = append(self._engine, [ticket.command for ticket in group], wait=False)
            for ticket, outcome in zip(group, outcomes, strict=True):
                ticket.outcome = outcome
        except Refusal as refusal:
            for ticket in group:
                ticket.outcome = type(refusal)()  # each thread raises one of its own
        except Exception:  # nothing of the group was written: each finds out by itself whose fault it was
            for ticket in group:
                ticket.alone = True
        finally:
            self._pass_on(group)

    def _pass_on(self, group: list[_Ticket]) -> None:
        with self._lock:
            successor = self._waiting[0] if self._waiting else None
            self._taken = successor is not None
            if successor is not None:
                successor.leads = True
                successor.called.set()
        for ticket in group:
            ticket.outcome = ticket.outcome or (None if ticket.alone else OutcomeUnknown())
            ticket.called.set()

    def _give_up(self, ticket: _Ticket) -> None:
        """Leave the queue, unless the ticket was called, or taken along, in the very last moment."""
        with self._lock:
            if ticket.leads or ticket.outcome is not None or ticket.alone:
                return
            if ticket in self._waiting:
                self._waiting.remove(ticket)
                ticket.outcome = Unavailable()
            else:
                ticket.outcome = OutcomeUnknown()  # at the door, with a leader whom nobody answers
