"""Log lines as text or JSON; each holds the ids of job, request, key and trace."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from datetime import UTC, datetime

from cascade_core.printable import one_line
from serve.settings import Settings

_HANDLER_NAME = "cascade"
_OWN_LOGGERS = ("serve", "cascade_core")
ID_NAMES = ("request_id", "job_id", "key_id", "trace_id")
_context: ContextVar[dict[str, str] | None] = ContextVar("log_context", default=None)


def configure_logging(settings: Settings) -> None:
    """Send this product's records to stderr in the chosen format; the last call counts."""
    handler = logging.StreamHandler()
    handler.name = _HANDLER_NAME
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else TextFormatter())
    for name in _OWN_LOGGERS:
        logger = logging.getLogger(name)
        for old in [item for item in logger.handlers if item.name == _HANDLER_NAME]:
            logger.removeHandler(old)
        logger.addHandler(handler)
        logger.setLevel(settings.log_level)
        # Ray gives each replica a root handler; a record should appear once.
        logger.propagate = False


@contextmanager
def log_context(
    job_id: str | None = None,
    request_id: str | None = None,
    key_id: str | None = None,
    trace_id: str | None = None,
) -> Iterator[None]:
    """Add ids to every record logged in the block, and in tasks and threads started from it."""
    given = {"job_id": job_id, "request_id": request_id, "key_id": key_id, "trace_id": trace_id}
    merged = current_context() | {name: value for name, value in given.items() if value}
    token = _context.set(merged)
    try:
        yield
    finally:
        _context.reset(token)


def adopt_context(ids: dict[str, str]) -> None:
    """Add ids to every record that the current task logs from now on."""
    _context.set(current_context() | ids)


def current_context() -> dict[str, str]:
    """Return the ids that records get now."""
    return _context.get() or {}


def context_of_ids(job_id: str) -> Context:
    """Return a context for a task that outlives its request: the current ids, and a job's."""
    context = Context()
    context.run(_context.set, current_context() | {"job_id": job_id})
    return context


class TextFormatter(logging.Formatter):
    """``time level logger message job_id=… request_id=…`` in one line; a traceback follows."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        ids = "".join(f" {name}={one_line(value)}" for name, value in current_context().items())
        line = f"{_time(record)} {record.levelname} {record.name} {one_line(record.getMessage())}"
        trace = self.formatException(record.exc_info).split("\n") if record.exc_info else []
        # Indented, so that a line of a traceback does not look like a record.
        return "\n  ".join([line + ids, *map(one_line, trace)])


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
        if record.exc_info:
            body["exception"] = self.formatException(record.exc_info)
        return json.dumps(body | current_context())


def _time(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
