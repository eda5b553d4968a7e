"""The HTTP application."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from serve.gateway import docs_page
from serve.gateway.auth.middleware import GuardMiddleware, KeyRing
from serve.gateway.auth.signed_links import ShareLinks
from serve.gateway.dependencies import JobsDoor, Services
from serve.gateway.event_hub import EventHub
from serve.gateway.middleware.cors import NamedOrigins
from serve.gateway.middleware.methods import MethodMiddleware
from serve.gateway.middleware.requests import PROBES, ErrorMiddleware, RequestMiddleware
from serve.gateway.openai import routes as openai_routes
from serve.gateway.openapi import EXAMPLES
from serve.gateway.routes import images as image_routes
from serve.gateway.routes import jobs as job_routes
from serve.gateway.routes import preferences as preference_routes
from serve.gateway.routes import service as service_routes
from serve.gateway.routes import shares as share_routes
from serve.gateway.routes import status as status_routes
from serve.gateway.sse import KEEP_ALIVE_S
from serve.gateway.stream_limiter import HeldRequests
from serve.release import RELEASE
from serve.responses import errors as http_errors

__all__ = ["JobsDoor", "Services", "create_app"]

_DESCRIPTION = """Pictures from prompts with Stable Cascade, in three stages.

`POST /v1/jobs` accepts a job; follow it at `/v1/jobs/{id}/events` or wait for it with
`Prefer: wait=30`. Each image keeps its Stage C latent: a job of kind `vary_details` draws new
details on the same composition without running Stage C again.

Every error is `{"error": {"code", "message", "type", "param", "field"?, "request_id"}}`."""


def create_app(services: Services, *, keep_alive_s: float = KEEP_ALIVE_S) -> FastAPI:
    """Build the application.

    Args:
        services: what it works on.
        keep_alive_s: seconds between comments that keep idle event streams open; so long may a
            stream outlive its key.
    """
    hub, ring = EventHub(services.database), KeyRing(services.database)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await hub.close()
        services.conversions.close()

    app = _Application(
        title="Cascade Serve",
        description=_DESCRIPTION,
        version=RELEASE,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # A redirect is answered with an address made from the request's own Host header.
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        telemetry=TelemetryConfig(
            metrics=False,
            logs=False,
            operation_spans=False,
            auto_configure=False,
            exclude=lambda scope: scope.get("path") in PROBES,
        ),
    )
    _set_state(app, services, hub, ring, keep_alive_s)
    http_errors.install(app)
    docs_page.install(app)
    for routes in (
        job_routes,
        image_routes,
        openai_routes,
        share_routes,
        preference_routes,
        status_routes,
        service_routes,
    ):
        app.include_router(routes.router)
    _add_middlewares(app, services, ring, keep_alive_s)
    return app


def _add_middlewares(app: FastAPI, services: Services, ring: KeyRing, keep_alive_s: float) -> None:
    """Surround the routes, from the innermost middleware to the outermost."""
    app.add_middleware(MethodMiddleware, routes=app.routes)
    app.add_middleware(
        GuardMiddleware,
        ring=ring,
        recheck_s=keep_alive_s,
        knows_clients=services.knows_clients,
    )
    app.add_middleware(ErrorMiddleware)
    origins = services.settings.allowed_origins
    if origins:
        app.add_middleware(NamedOrigins, origins=origins)
    app.add_middleware(RequestMiddleware)


def _set_state(
    app: FastAPI, services: Services, hub: EventHub, ring: KeyRing, keep_alive_s: float
) -> None:
    """Put what the routes share where they find it."""
    settings = services.settings
    app.state.services = services
    app.state.hub = hub
    app.state.held = HeldRequests(settings.max_streams, settings.max_streams_per_key)
    app.state.readiness, app.state.readiness_since_s = None, -math.inf
    app.state.share_links = ShareLinks(services.database, ring.is_valid)
    app.state.shared_limits = share_routes.SharedLimits(services.knows_clients)
    app.state.keep_alive_s = keep_alive_s


class _Application(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """Return the API's document; FastAPI drops nulls from examples, so they go in last."""
        document = super().openapi()
        for name, examples in EXAMPLES.items():
            document["components"]["schemas"][name]["examples"] = examples
        return document
