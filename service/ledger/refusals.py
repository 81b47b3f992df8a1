"""What the door's outcomes mean to a caller: each name becomes a Refusal with its sentence."""

from __future__ import annotations

from collections.abc import Callable

from service.errors import (
    AmbiguousReference,
    Conflict,
    CustomerNotFound,
    InsufficientCredit,
    Invalid,
    MovedOn,
    NotFound,
    ReferenceTaken,
    Refusal,
    StreamBusy,
)
from service.ledger.command import Command
from service.ledger.event import Kind, event_id, hold_id

CREDIT_DIGITS = "at most 10 digits before the point and 5 after"

_Maker = Callable[[Command, int, int], Refusal]


def refusal(outcome: str, command: Command, customer_id: int, seq: int) -> Refusal:
    """The Refusal of a command; customer_id and seq are what the door said with the outcome."""
    return _MAKERS[outcome](command, customer_id, seq)


def hold_not_found() -> NotFound:
    """No hold of this client has that id."""
    return NotFound("hold not found")


def event_not_found() -> NotFound:
    """No event of this client has that id."""
    return NotFound("event not found")


def _not_found(command: Command, *_: int) -> Refusal:
    """Who names a customer by a hold's or an event's id is told of that."""
    if command.kind in {Kind.HOLD_CAPTURED, Kind.HOLD_RELEASED, Kind.HOLD_EXPIRED}:
        return hold_not_found()
    return event_not_found() if command.kind == Kind.CREDIT_REVERSED else CustomerNotFound()


def _field(command: Command) -> str:
    by_amount = {Kind.HOLD_CREATED, Kind.HOLD_CAPTURED, Kind.CREDIT_REVERSED}
    return "amount" if command.kind in by_amount else "credit"


def _not_exact(command: Command, *_: int) -> Refusal:
    return Invalid(f"{_field(command)}: {CREDIT_DIGITS}")


def _closed(how: str) -> _Maker:
    def make(command: Command, customer_id: int, _: int) -> Refusal:
        return Conflict(f"{hold_id(customer_id, command.refers_to or 0)} {how}")

    return make


def _about(how: str) -> _Maker:
    def make(command: Command, customer_id: int, _: int) -> Refusal:
        return Conflict(f"{event_id(customer_id, command.refers_to or 0)} {how}")

    return make


_MAKERS: dict[str, _Maker] = {
    "not_found": _not_found,
    "ambiguous": lambda command, *_: AmbiguousReference(command.ref),
    "no_event": lambda *_: event_not_found(),
    "no_hold": lambda *_: hold_not_found(),
    "busy": lambda *_: StreamBusy(),
    "reference_taken": lambda command, *place: ReferenceTaken(command.why.reference or "", event_id(*place)),
    "moved_on": lambda _command, _customer, seq: MovedOn(seq),
    "insufficient": lambda *_: InsufficientCredit(),
    "overflow": lambda *_: Conflict("the balance would have more than 10 digits before the point"),
    "hold_captured": _closed("was captured already"),
    "hold_released": _closed("was released already"),
    "hold_expired": _closed("has expired"),
    "reversed": _about("cannot be reversed by more than is left of it"),
    "not_reversible": _about("cannot be reversed"),
    "not_exact": _not_exact,
    "too_large": _not_exact,
    "bad_status": lambda *_: Invalid("status: must be a code from 0 to 8"),
    "bad_kind": lambda command, *_: Invalid(f"{command.kind.value}: not possible here"),
}
