"""`If-Match`: change it only if nobody else has. An ETag is the customer's seq in quotes (RFC 9110, §13.1.1)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from flask import request

from service.api.guard import IF_MATCH, note
from service.errors import Invalid

View = TypeVar("View", bound=Callable[..., Any])

NO_SEQ = -1  # where no stream ever is: what matches nothing
_ONE_TAG = re.compile(r'(W/)?"([^"]*)"')
_SEQ = re.compile(r"[1-9][0-9]{0,17}")


def honours_if_match(view: View) -> View:
    """Take note that a view hands `expected_seq` to the ledger; everywhere else the header is refused."""
    view.honours_if_match = True  # type: ignore[attr-defined]
    note(view, **{IF_MATCH: True})
    return view


def expected_seq() -> int | None:
    """The seq that the caller goes by; None without one. A tag that was never ours matches nothing. Raises Invalid."""
    header = request.headers.get("If-Match")
    if header is None or header.strip() == "*":
        return None
    match = _ONE_TAG.fullmatch(header.strip())
    if match is None:
        raise Invalid('If-Match: must be one ETag, such as "42"')
    weak, tag = match.groups()
    return int(tag) if not weak and _SEQ.fullmatch(tag) else NO_SEQ
