"""CORS: lets web pages of the configured sites use the service from a browser."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

SHOWN_HEADERS = (
    "location",
    "retry-after",
    "x-dependant-count",
    "x-dependant-ids",
    "x-image-id",
    "x-job-id",
    "x-latent-id",
    "x-request-id",
    "x-should-retry",
    "x-source-latent-id",
)
"""The headers of an answer that a page's scripts may read, beside the always readable ones."""


class NamedOrigins:
    """Adds CORS headers to preflights and answers for the configured sites, and to no others.

    Their requests need a key as ``Authorization: Bearer``: cookies are never allowed, and a service
    without keys refuses them (`serve.gateway.auth.middleware`).

    Args:
        app: the application inside.
        origins: such as ``https://app.example``.
    """

    def __init__(self, app: ASGIApp, origins: frozenset[str]) -> None:
        self._app = app
        self._origins = origins
        self._with_cors = CORSMiddleware(
            app,
            allow_origins=tuple(origins),
            allow_methods=("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
            allow_headers=("*",),
            allow_credentials=False,
            expose_headers=SHOWN_HEADERS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        origin = Headers(scope=scope).get("origin") if scope["type"] == "http" else None
        # An answer to a request without an origin has ``Vary: Origin``, too. Otherwise a browser
        # that has shown a picture would give it from its cache to a page's script, unpermitted.
        is_other = origin is not None and origin not in self._origins
        await (self._app if is_other else self._with_cors)(scope, receive, send)
