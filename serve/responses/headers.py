"""The headers that every answer has."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders

from serve.responses.request_id import REQUEST_ID_HEADER

DEFAULT_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""By default an answer is no page, and may not be framed, embedded by another site or cached.
Pages, pictures and shared links set these headers themselves."""


def complete(headers: MutableHeaders, request_id: str) -> None:
    """Set an answer's request id, and each default header that its route did not set."""
    headers[REQUEST_ID_HEADER] = request_id
    for name, value in DEFAULT_HEADERS.items():
        headers.setdefault(name, value)
