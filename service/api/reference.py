"""What stands in paths: `{ref}`, which is an id, a username or a caller id, and the ids of other things."""

from __future__ import annotations

import re

from werkzeug.routing import BaseConverter, ValidationError

LONGEST = 120  # the longest caller id and its prefix, with room
UNFIT_FOR_PATHS = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff\ufffd]")  # what no name may hold


class ReferenceConverter(BaseConverter):
    """Any text without control characters; what can't name anything is not found."""

    part_isolating = True

    def to_python(self, value: str) -> str:
        """The text as it is."""
        if len(value) > LONGEST or UNFIT_FOR_PATHS.search(value):
            raise ValidationError
        return value


class EventIdConverter(ReferenceConverter):
    """The same for `evt_1_42`: any text may be asked for, and what is no event's id is not found."""


class HoldIdConverter(ReferenceConverter):
    """The same for `hold_1_42`."""


class CallerIdConverter(ReferenceConverter):
    """The same for a caller id."""
