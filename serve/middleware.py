"""What surrounds every HTTP request: its id, the size of its body, the log, the last resort."""

from __future__ import annotations

import logging
import re
import time
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from ulid import ULID

from cascade_core.errors import Internal
from serve.http_errors import error_body, error_response
from serve.log import log_context

REQUEST_ID_HEADER = "x-request-id"
MAX_BODY_BYTES = 64 * 1024
UPLOAD_LIMITS = {"/v1/images/variations": 16 * 1024 * 1024}
"""Routes that take files, with the most bytes of a body: the largest PNG of ours, 2048 px of noise,
has 13 MB."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PROBES = ("/healthz", "/readyz")

logger = logging.getLogger(__name__)


class RequestMiddleware:
    """Gives each request an id, bounds its body and turns what nobody caught into a 500.

    The client's ``x-request-id`` is kept if it is harmless; it comes back in the answer and is in
    every log record of the request.

    Args:
        app: the application inside.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = headers.get(REQUEST_ID_HEADER, "")
        if not _REQUEST_ID.fullmatch(request_id):
            request_id = str(ULID())
        answer = _Answer(send, request_id)
        started_s = time.perf_counter()
        with log_context(request_id=request_id):
            limit_bytes = UPLOAD_LIMITS.get(scope["path"], MAX_BODY_BYTES)
            if _claimed_bytes(headers) > limit_bytes:
                status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
                body = error_body(status, "body_too_large", _too_large(limit_bytes))
                await JSONResponse(body, status)(scope, receive, answer.send)
            else:
                await self._serve(scope, _bounded(receive, limit_bytes), answer)
            took_ms = (time.perf_counter() - started_s) * 1000
            # Probes come every few seconds and would bury everything else.
            is_routine = scope["path"] in _PROBES and answer.status == HTTPStatus.OK
            level = logging.DEBUG if is_routine else logging.INFO
            line = "%s %s -> %d in %.1f ms"
            logger.log(level, line, scope["method"], scope["path"], answer.status, took_ms)

    async def _serve(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            await self._app(scope, receive, answer.send)
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            if answer.status:
                raise
            error = Internal("something went wrong here; the log has it under this id")
            await error_response(error)(scope, receive, answer.send)


class _Answer:
    """Passes an answer on with its request id and remembers its status (0: none yet)."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)[REQUEST_ID_HEADER] = self._request_id
        await self._send(message)


def _claimed_bytes(headers: Headers) -> int:
    claimed = headers.get("content-length", "0")
    return int(claimed) if claimed.isascii() and claimed.isdigit() and len(claimed) < 20 else 0


def _too_large(limit_bytes: int) -> str:
    return f"the body may be at most {limit_bytes} bytes"


def _bounded(receive: Receive, limit_bytes: int) -> Receive:
    """Stop reading a body that grows past the limit, whatever its length header said."""
    seen_bytes = 0

    async def bounded() -> Message:
        nonlocal seen_bytes
        message = await receive()
        seen_bytes += len(message.get("body", b""))
        if seen_bytes > limit_bytes:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _too_large(limit_bytes))
        return message

    return bounded
