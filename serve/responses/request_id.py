"""The id of a request: in its answer's headers, in an error's body and in every log record."""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from ulid import ULID

REQUEST_ID_HEADER = "x-request-id"
HARMLESS = "[A-Za-z0-9._-]{1,64}"
"""The form of a client's id that is kept; a regular expression of Python and of HAProxy."""


def chosen_request_id(headers: Headers) -> str:
    """Return the id that the client gave its request if it is harmless, else a new one."""
    request_id = headers.get(REQUEST_ID_HEADER, "")
    return request_id if re.fullmatch(HARMLESS, request_id) else str(ULID())
