"""The one id of a request: in its answer's headers, in an error's body and in every log line."""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from ulid import ULID

REQUEST_ID_HEADER = "x-request-id"
HARMLESS = "[A-Za-z0-9._-]{1,64}"
"""Ids of this form are kept, as a regular expression of Python and of HAProxy."""


def chosen_request_id(headers: Headers) -> str:
    """Return the id that the client gave its request if it is harmless, else a new one."""
    request_id = headers.get(REQUEST_ID_HEADER, "")
    return request_id if re.fullmatch(HARMLESS, request_id) else str(ULID())
