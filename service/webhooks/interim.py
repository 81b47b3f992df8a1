"""No more `100 Continue` than an honest server has to say.

aiohttp waits for an answer's end through any number of interim answers (1xx), and works through all of them that have
come in before anything else gets a turn. A subscriber that sends nothing but those would hold up every other one.
"""

from __future__ import annotations

import asyncio
from functools import partial
from http import HTTPStatus
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError, RawResponseMessage

# Interim answers before the real one. A server has one or two (100, 103), or a 102 every few seconds while it works.
MOST = 10


class BoundedConnector(aiohttp.TCPConnector):
    """Connections that are dropped, as not HTTP, once they have brought more than MOST interim answers in a row."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(_handler, loop=asyncio.get_running_loop())  # aiohttp has no public way in


def _handler(loop: asyncio.AbstractEventLoop) -> ResponseHandler:
    return _Handler(loop)


class _Handler(ResponseHandler):
    _interim = 0

    def feed_data(self, data: tuple[RawResponseMessage, aiohttp.StreamReader], size: int = 0) -> None:
        """Take one message. Of bytes that came together, those after the last straw still pass through here."""
        if self._interim > MOST:
            return
        self._interim = self._interim + 1 if _is_interim(data[0].code) else 0
        if self._interim <= MOST:
            super().feed_data(data, size)
        else:
            self.abort()  # before the exception, which it would take back
            self.set_exception(HttpProcessingError(message="interim answers without end"))


def _is_interim(code: int) -> bool:
    return code < HTTPStatus.OK and code != HTTPStatus.SWITCHING_PROTOCOLS  # which is the end of HTTP
