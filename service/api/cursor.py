"""Cursors: where a page of a list ended, as a text that a caller gives back and need not understand."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from marshmallow import ValidationError, fields

from service.ledger.event import BIGGEST

LONGEST = 120  # three numbers of 19 digits and a name, with room
NO_CURSOR = "not a cursor of this list"


def write_cursor(of: str, *place: int) -> str:
    """The cursor of a place in a kind of list. No secret: whoever takes it apart finds numbers."""
    return urlsafe_b64encode(":".join([of, *map(str, place)]).encode()).decode().rstrip("=")


def read_cursor(of: str, length: int, cursor: str) -> tuple[int, ...]:
    """The place, `length` numbers, that a cursor of this kind of list means. Raises ValueError for any other text."""
    if len(cursor) > LONGEST:
        raise ValueError(NO_CURSOR)
    name, *numbers = urlsafe_b64decode(cursor + "===").decode().split(":")
    place = tuple(map(int, numbers))
    # Written again it must be the same text: so nothing gets through that int() or base64 merely puts up with.
    if (name, len(place)) != (of, length) or write_cursor(of, *place) != cursor:
        raise ValueError(NO_CURSOR)
    if not all(0 <= number < BIGGEST for number in place):
        raise ValueError(NO_CURSOR)
    return place


class Cursor(fields.Field[tuple[int, ...]]):
    """A cursor of one kind of list in a query, as the numbers of a place; none where it may be empty, and is."""

    def __init__(self, of: str, length: int, *, may_be_empty: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.of, self.length, self.may_be_empty = of, length, may_be_empty

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[int, ...]:
        if self.may_be_empty and value == "":
            return ()
        try:
            return read_cursor(self.of, self.length, value)
        except ValueError:
            raise ValidationError(NO_CURSOR) from None
