"""Middleware of Ray Serve's HTTP servers: its proxies, and gateway replicas behind HAProxy.

Ray calls :func:`middlewares` in each such process, see :mod:`serve.proxies.callback`.
Ray's own answers are plain text, also its 404 before it knows the routes. This middleware replaces
them by 503 in the form of all errors, which says whether a retry is safe.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cascade_core.errors import Internal, InvalidRequest, NotFound, NotReady
from serve.proxies import http_protocol
from serve.responses.errors import error_body, error_response
from serve.responses.headers import complete
from serve.responses.request_id import REQUEST_ID_HEADER, chosen_request_id
from serve.responses.unavailable import LOST, LOST_AND_UNKNOWN, STARTING
from serve.telemetry.log import log_context

ROUTES_PATH = "/-/routes"
"""Ray's path that lists its applications to any client; the service does not use it."""
RAYS_HEADERS = frozenset(
    {
        "x-request-timeout-seconds",
        "x-request-disconnect-disabled",
        "serve-multiplexed-model-id",
        "x-session-id",
    }
)
"""Headers by which a client could shorten its request, keep it running after it has left, or choose
a replica. Ray accepts ``_`` for ``-`` in their names, and fails if a value is no UTF-8."""
HAS_NOT_RUN = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.TOO_MANY_REQUESTS, 503})
"""Statuses of Ray's answers to a request that reached no replica."""
RAYS_STATUSES = HAS_NOT_RUN | {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.INTERNAL_SERVER_ERROR}
REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})

logger = logging.getLogger(__name__)


def middlewares() -> list[Middleware]:
    """Return Ray Serve's middlewares for this process, and set its HTTP protocol."""
    http_protocol.make_default()
    return [Middleware(ProxyMiddleware)]


def interrupted(scope: Scope) -> JSONResponse:
    """Return the answer to a request whose process ended while it may have worked on the request.

    A client that retries a POST without ``Idempotency-Key`` could get its pictures twice.
    """
    is_repeatable = scope["method"] in REPEATABLE or "idempotency-key" in Headers(scope=scope)
    if is_repeatable:
        return error_response(NotReady(LOST))
    status = HTTPStatus.SERVICE_UNAVAILABLE
    body = error_body(status, Internal.code, LOST_AND_UNKNOWN)
    return JSONResponse(body, status, {"x-should-retry": "false"})


class ProxyMiddleware:
    """Sets a request's id, and replaces Ray's own answers by answers in our form.

    Args:
        app: Ray's proxy, or a gateway replica.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = _in_origin_form(scope)
        headers = MutableHeaders(scope=scope)
        request_id = headers[REQUEST_ID_HEADER] = chosen_request_id(headers)
        for name in set(headers):
            if name.replace("_", "-") in RAYS_HEADERS:
                del headers[name]
        answer = _Answer(scope, receive, send, request_id)
        with log_context(request_id=request_id):
            error = _path_error(scope["path"])
            if error is not None:
                await answer.give(error)
            else:
                await self._serve(scope, receive, answer)

    async def _serve(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            await self._app(scope, receive, answer.send)
        except Exception:
            if answer.has_started:
                raise
            logger.exception("%s %s failed", scope["method"], scope["path"])
        if not answer.has_started:  # Ray leaves a failed call without an answer
            await answer.give(interrupted(scope))


class _Answer:
    """Forwards an answer, unless Ray made it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._request_id = request_id
        self._is_replaced = False
        self.has_started = False

    async def send(self, message: Message) -> None:
        if self._is_replaced:
            return
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if self._is_ray_answer(message["status"], headers):
                self._is_replaced = True
                await self.give(self._instead_of(message["status"]))
                return
            self.has_started = True
            headers[REQUEST_ID_HEADER] = self._request_id
        await self._send(message)

    async def give(self, response: JSONResponse) -> None:
        """Send an answer in our form."""
        self.has_started = True
        complete(response.headers, self._request_id)
        await response(self._scope, self._receive, self._send)

    def _is_ray_answer(self, status: int, headers: Headers) -> bool:
        """Return True for an answer that Ray made: such answers have no Content-Length."""
        is_text = headers.get("content-type", "").startswith("text/plain")
        is_health_check = self._scope["path"] == "/-/healthz"
        is_rays = is_text and "content-length" not in headers and status in RAYS_STATUSES
        return is_rays and not is_health_check

    def _instead_of(self, status: int) -> JSONResponse:
        if status in HAS_NOT_RUN:
            return error_response(NotReady(STARTING))
        return interrupted(self._scope)


def _in_origin_form(scope: Scope) -> Scope:
    """Return a request whose target is a whole URL (RFC 9112, 3.2.2) with its path as the target.

    The URL's host replaces the Host header.
    """
    if scope["path"].startswith("/"):
        return scope
    try:
        url = urlsplit(scope["raw_path"].decode("ascii"))
    except ValueError:
        return scope
    if url.scheme not in ("http", "https") or not url.netloc:
        return scope
    path = url.path or "/"
    headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
    host = (b"host", url.netloc.encode("ascii"))
    changed = {"path": unquote(path), "raw_path": path.encode("ascii"), "headers": [*headers, host]}
    return {**scope, **changed}


def _path_error(path: str) -> JSONResponse | None:
    """Return the error of a path that is not passed on to Ray; None for all others."""
    if path.rstrip("/") == ROUTES_PATH:
        body = error_body(404, NotFound.code, "there is no such address; see /docs")
        return JSONResponse(body, HTTPStatus.NOT_FOUND)
    if path.startswith("/"):
        return None
    message = "the target of a request must be a path, or a URL with http:// or https://"
    return JSONResponse(error_body(400, InvalidRequest.code, message), HTTPStatus.BAD_REQUEST)
