"""Checks the senders of files before the files are read."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from cascade_core.errors import CascadeError
from serve.gateway.auth.permissions import SCOPE_ENTRY, Caller
from serve.gateway.dependencies import Services
from serve.gateway.middleware.requests import UPLOAD_LIMITS, UPLOADS, VERIFY
from serve.responses.errors import error_response


class FileMiddleware:
    """Refuses requests with files by their sender, and counts the others as held open.

    FastAPI reads a form, and keeps its files on the disk, before it looks at anything else that a
    route asks for.

    Args:
        app: the application inside.
        services: its services.
    """

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        has_file = scope["type"] == "http" and scope["path"] in UPLOAD_LIMITS
        if not has_file or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        caller: Caller = scope[SCOPE_ENTRY]
        try:
            caller.require("read" if scope["path"] == VERIFY else "create")
            if scope["path"] in (UPLOADS, VERIFY):
                self._services.upload_decoding.check_room()
            with self._services.stream_limiter.hold(caller.key_id):
                await self._app(scope, receive, send)
        except CascadeError as error:  # the application inside raises none
            await error_response(error)(scope, receive, send)
