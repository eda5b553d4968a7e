"""The one id of a request: in its answer's headers, in an error's body and in every log line."""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from ulid import ULID

REQUEST_ID_HEADER = "x-request-id"
_HARMLESS = re.compile(r"[A-Za-z0-9._-]{1,64}")


def chosen_request_id(headers: Headers) -> str:
    """Return the id that the client gave its request if it is harmless, else a new one."""
    request_id = headers.get(REQUEST_ID_HEADER, "")
    return request_id if _HARMLESS.fullmatch(request_id) else str(ULID())
