"""What stands in paths: `{ref}`, which is an id, a username or a caller id, and the ids of other things."""

from __future__ import annotations

import re
import uuid

from werkzeug.routing import BaseConverter, ValidationError

from service.calls.export import export_not_found
from service.webhooks.endpoints import webhook_not_found
from service.webhooks.history import delivery_not_found

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


class WebhookIdConverter(ReferenceConverter):
    """The same for a webhook's id."""


class DeliveryIdConverter(ReferenceConverter):
    """The same for a delivery's id."""


class ExportIdConverter(ReferenceConverter):
    """The same for an export's id."""


def webhook_id(text: str) -> uuid.UUID:
    """The id that a path names. Raises NotFound, as for an id that is nobody's."""
    try:
        return _uuid(text)
    except ValueError:
        raise webhook_not_found() from None


def delivery_id(text: str) -> uuid.UUID:
    """The same for a delivery."""
    try:
        return _uuid(text)
    except ValueError:
        raise delivery_not_found() from None


def export_id(text: str) -> uuid.UUID:
    """The same for an export."""
    try:
        return _uuid(text)
    except ValueError:
        raise export_not_found() from None


def _uuid(text: str) -> uuid.UUID:
    """Spelled as we spell it, and no other way: an idempotency key goes by the path."""
    found = uuid.UUID(text)
    if str(found) != text.lower():
        raise ValueError(text)
    return found
