"""Methods of an address: a correct ``Allow`` header in each 405, and HEAD wherever there is GET."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.responses.errors import METHOD_NOT_ALLOWED, error_body


class MethodMiddleware:
    """Answers 405 before a route is looked up, and HEAD as GET without its body.

    A router answers for the first route whose path matches. ``/v1/images/{image_id}`` also matches
    ``/v1/images/generations``, so the router would name the wrong methods for that address.

    Args:
        app: the application inside.
        routes: all its routes.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        self._fixed: dict[str, set[str]] = {}
        self._patterns: list[tuple[re.Pattern[str], set[str]]] = []
        for route in routes:
            if not isinstance(route, Route):  # a folder of files
                continue
            methods = route.methods or set()
            if "{" in route.path:
                self._patterns.append((route.path_regex, methods))
            else:
                self._fixed.setdefault(route.path, set()).update(methods)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        allowed = self._allowed(scope["path"]) if scope["type"] == "http" else set()
        if not allowed or scope["method"] in allowed:
            await self._app(scope, receive, send)
        elif scope["method"] == "HEAD" and "GET" in allowed:
            await self._head(scope, receive, send)
        else:
            status = HTTPStatus.METHOD_NOT_ALLOWED
            body = error_body(status, "method_not_allowed", METHOD_NOT_ALLOWED)
            shown = allowed | ({"HEAD"} if "GET" in allowed else set())
            response = JSONResponse(body, status, {"allow": ", ".join(sorted(shown))})
            await response(scope, receive, send)

    def _allowed(self, path: str) -> set[str]:
        """Return the methods of an address; empty for an unknown address or a folder of files."""
        if path in self._fixed:
            return self._fixed[path]
        fitting = (methods for pattern, methods in self._patterns if pattern.match(path))
        return set().union(*fitting)

    async def _head(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the headers of GET, and stop GET's body, which may be an endless stream."""
        started: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

        async def keep_start(message: Message) -> None:
            if message["type"] == "http.response.start" and not started.done():
                started.set_result(message)

        getting = asyncio.ensure_future(self._app({**scope, "method": "GET"}, receive, keep_start))
        try:
            first: set[asyncio.Future[Any]] = {getting, started}
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if not started.done():
                await getting  # raises what the route raised
        finally:
            getting.cancel()
            await asyncio.wait({getting})
        await send(started.result())
        await send({"type": "http.response.body", "body": b""})
