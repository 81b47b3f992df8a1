"""Logs: one JSON object a line, or readable lines where LOG_FORMAT=console.

Everything goes through structlog, the standard library's loggers included, so that a line from a library looks like one
of ours. No secret is ever passed to a logger: keys, tokens and webhook secrets have no place in an event's values.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from service.config import Config

CONSOLE = "console"
_QUIET = {"rq.worker": logging.WARNING, "werkzeug": logging.WARNING, "alembic": logging.WARNING}


def configure(config: Config) -> None:
    """Set up logging for this process; may be called again."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
    ]
    console = config.log_format == CONSOLE
    if not console:
        shared.append(structlog.processors.TimeStamper(fmt="iso", utc=True))
    renderer = (
        structlog.dev.ConsoleRenderer(colors=False, pad_event_to=24) if console else structlog.processors.JSONRenderer()
    )
    errors = [] if console else [structlog.processors.format_exc_info]
    structlog.configure(
        processors=[*shared, *errors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(_level(config)),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *errors, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(_level(config))
    for name, level in _QUIET.items():
        logging.getLogger(name).setLevel(level)


def _level(config: Config) -> int:
    return logging.getLevelNamesMapping().get(config.log_level, logging.INFO)
