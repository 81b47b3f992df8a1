"""Logs: one JSON object a line, or readable lines where LOG_FORMAT=console.

Everything goes through structlog, the standard library's loggers included, so that a line from a library looks like one
of ours. No secret is ever passed to a logger: keys, tokens and webhook secrets have no place in an event's values.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, Processor

from service.config import Config

CONSOLE = "console"
_QUIET = {"rq.worker": logging.WARNING, "werkzeug": logging.WARNING, "alembic": logging.WARNING}

_processors: list[Processor] = []  # one list for good: a logger that was used before holds on to it


def configure(config: Config) -> None:
    """Set up logging for this process; may be called again."""
    chain = _readable() if config.log_format == CONSOLE else _json()
    _processors[:] = chain
    structlog.configure(
        processors=_processors,
        wrapper_class=structlog.make_filtering_bound_logger(_level(config)),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *chain[:-1], _as_text(chain[-1])]
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(_level(config))
    for name, level in _QUIET.items():
        logging.getLogger(name).setLevel(level)


def _json() -> list[Processor]:
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(serializer=orjson.dumps, default=str),
    ]


def _readable() -> list[Processor]:
    console = structlog.dev.ConsoleRenderer(
        colors=False,
        pad_event_to=24,
        exception_formatter=structlog.dev.plain_traceback,  # the richer ones print local variables, secrets included
    )

    def render(logger: Any, name: str, event: EventDict) -> bytes:
        return str(console(logger, name, event)).encode()

    return [structlog.processors.add_log_level, render]


def _as_text(render: Processor) -> Processor:
    """The same renderer for the standard library's handlers, which write text."""

    def rendered(logger: Any, name: str, event: EventDict) -> str:
        line = render(logger, name, event)
        return line.decode() if isinstance(line, bytes) else str(line)

    return rendered


def _level(config: Config) -> int:
    return logging.getLevelNamesMapping().get(config.log_level, logging.INFO)
