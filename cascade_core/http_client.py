"""What every client of the HTTP API shares: ids, timeouts, retries, resuming a stream of events.

The command line and the bot have a client each, one blocking and one asynchronous.
"""

from __future__ import annotations

import re
from http import HTTPStatus

EVENT_SILENCE_S = 60.0
"""A live stream sends a keep-alive comment more often than this; a silent stream is broken."""

RETRYABLE_STATUSES = frozenset(
    {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}
)
"""The service, or a proxy before it, cannot answer now; the same request may succeed later."""

_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")


def is_id(value: str) -> bool:
    """Return True if a value may stand in a path as an id; other values could change the path."""
    return _ID.fullmatch(value) is not None


def stream_headers(last_event_id: str) -> dict[str, str]:
    """Return the headers that open a job's stream of events.

    Args:
        last_event_id: id of the last event that was seen, after which the stream resumes; empty:
            the stream starts with the first event.
    """
    headers = {"accept": "text/event-stream"}
    return headers | {"last-event-id": last_event_id} if last_event_id else headers
