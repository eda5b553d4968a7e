"""Logging: one line per record on stderr, with the reference that the person was shown."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

from cascade_core.printable import one_line

_reference: ContextVar[str] = ContextVar("reference", default="")
# These loggers warn at every start about intents and voice libraries that the bot does not need.
_NEEDLESS = ("discord.state", "discord.client")


def configure_logging(style: Literal["text", "json"], level: str) -> None:
    """Send the records of the bot and of discord.py to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    of_discord = "INFO" if level == "DEBUG" else "WARNING"
    quiet = [(name, "ERROR") for name in _NEEDLESS]
    for name, least in (("bot", level), ("discord", of_discord), *quiet):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(least)
        logger.propagate = False


@contextmanager
def referenced(reference: str) -> Iterator[None]:
    """Mark log records and requests to the service inside the block with a reference."""
    token = _reference.set(reference)
    try:
        yield
    finally:
        _reference.reset(token)


def refer_to(reference: str) -> None:
    """Mark the rest of the current task with a reference."""
    _reference.set(reference)


def current_reference() -> str:
    """Return the current reference; empty if there is none."""
    return _reference.get()


class TextFormatter(logging.Formatter):
    """``time level logger message reference=…`` in one line; a traceback follows, indented."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        reference = f" reference={current_reference()}" if current_reference() else ""
        message = one_line(record.getMessage())
        line = f"{_time(record)} {record.levelname} {record.name} {message}{reference}"
        trace = self.formatException(record.exc_info).split("\n") if record.exc_info else []
        return "\n  ".join([line, *map(one_line, trace)])


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        body = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if current_reference():
            body["reference"] = current_reference()
        if record.exc_info:
            body["exception"] = self.formatException(record.exc_info)
        return json.dumps(body)


def _time(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
