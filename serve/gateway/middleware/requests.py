"""Middlewares of every HTTP request: its id, its body's limits, the access log, uncaught errors."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from http import HTTPStatus

from opentelemetry import trace
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cascade_core.errors import Internal
from serve.responses.errors import error_response
from serve.responses.headers import complete
from serve.responses.request_id import chosen_request_id
from serve.telemetry.log import log_context
from serve.telemetry.tracing import trace_id


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """The maximum size of a request's body, and the time in which it must arrive."""

    size_bytes: int
    timeout_s: float


JSON_LIMIT = BodyLimit(64 * 1024, 20.0)
JOB_LIMIT = BodyLimit(2 * 1024 * 1024, 20.0)
"""Of a new job: 100 prompts of 2000 characters, each of which clients write as up to 6 bytes."""
_UPLOAD_LIMIT = BodyLimit(16 * 1024 * 1024, 120.0)
UPLOADS = "/v1/uploads"
VERIFY = "/v1/verify"
UPLOAD_LIMITS = {
    UPLOADS: _UPLOAD_LIMIT,
    VERIFY: _UPLOAD_LIMIT,
    "/v1/images/variations": _UPLOAD_LIMIT,
    "/v1/images/edits": _UPLOAD_LIMIT,  # so that clients read the 404 that explains it
}
"""Routes that take files; the service's largest PNG, 2048 px of noise, has 13 MB."""

PROBES = ("/healthz", "/readyz")

logger = logging.getLogger(__name__)


class RequestMiddleware:
    """Gives each request an id, its answer the common headers, and writes the access log.

    A client's own ``x-request-id`` is kept if it is harmless. The id is a header of the answer and
    part of every log record of the request.

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
        request_id = chosen_request_id(headers)
        answer = _Answer(send, request_id)
        started_s = time.perf_counter()
        span = trace.get_current_span()
        span.set_attribute("cascade.request_id", request_id)
        if scope["query_string"]:
            span.set_attribute("url.query", "hidden")  # signatures of links, names of users
        with log_context(request_id=request_id, trace_id=trace_id()):
            await self._app(scope, receive, answer.send)
            took_ms = (time.perf_counter() - started_s) * 1000
            # Probes come every few seconds and would hide the other lines.
            is_routine = scope["path"] in PROBES and answer.status == HTTPStatus.OK
            level = logging.DEBUG if is_routine else logging.INFO
            line = "%s %s -> %d in %.1f ms"
            logger.log(level, line, scope["method"], scope["path"], answer.status, took_ms)


class ErrorMiddleware:
    """Limits a request's body, and turns uncaught exceptions into a 500.

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
        answer = _Started(send)
        limit = _limit_of(scope["path"])
        has_body = scope["method"] not in ("GET", "HEAD")
        claimed_bytes = _claimed_bytes(Headers(scope=scope)) if has_body else 0
        body = _Body(receive, limit, claimed_bytes, answer)
        try:
            await self._app(scope, body.receive, answer.send)
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            if answer.status:
                raise
            error = Internal("something went wrong here; the log has it under this id")
            await error_response(error)(scope, receive, answer.send)


class _Started:
    """Forwards an answer and remembers its status (0: none yet)."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


class _Answer(_Started):
    """Adds the request id and the common headers to an answer."""

    def __init__(self, send: Send, request_id: str) -> None:
        super().__init__(send)
        self._request_id = request_id

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            complete(MutableHeaders(scope=message), self._request_id)
        await super().send(message)


def _limit_of(path: str) -> BodyLimit:
    return JOB_LIMIT if path == "/v1/jobs" else UPLOAD_LIMITS.get(path, JSON_LIMIT)


def _claimed_bytes(headers: Headers) -> int:
    claimed = headers.get("content-length", "0")
    return int(claimed) if claimed.isascii() and claimed.isdigit() and len(claimed) < 20 else 0


class _Body:
    """Stops reading a body that is larger or slower than allowed.

    It stops only routes that read the body.
    """

    def __init__(
        self, receive: Receive, limit: BodyLimit, claimed_bytes: int, answer: _Started
    ) -> None:
        self._receive = receive
        self._limit = limit
        self._answer = answer
        self._deadline_s = asyncio.get_running_loop().time() + limit.timeout_s
        self._claimed_bytes = claimed_bytes
        self._seen_bytes = 0
        self._is_complete = False

    async def receive(self) -> Message:
        if self._claimed_bytes > self._limit.size_bytes and not self._answer.status:
            raise self._too_large()
        try:
            async with asyncio.timeout_at(None if self._is_complete else self._deadline_s):
                message = await self._receive()
        except TimeoutError:
            if self._answer.status:  # the body is not needed any more
                return {"type": "http.disconnect"}
            raise HTTPException(
                HTTPStatus.REQUEST_TIMEOUT,
                f"the body did not arrive within {self._limit.timeout_s:g} s",
                {"connection": "close"},
            ) from None
        self._seen_bytes += len(message.get("body", b""))
        self._is_complete = not message.get("more_body", False)
        if self._seen_bytes > self._limit.size_bytes:
            raise self._too_large()
        return message

    def _too_large(self) -> HTTPException:
        message = f"the body may be at most {self._limit.size_bytes} bytes"
        return HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)
