"""The HTTP application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from serve.gateway.auth.middleware import AuthMiddleware
from serve.gateway.dependencies import Services
from serve.gateway.middleware.cors import NamedOrigins
from serve.gateway.middleware.files import FileMiddleware
from serve.gateway.middleware.methods import MethodMiddleware
from serve.gateway.middleware.requests import PROBES, ErrorMiddleware, RequestMiddleware
from serve.gateway.openai.routes import router as openai_router
from serve.gateway.openapi import install_docs
from serve.gateway.routes import (
    comparisons,
    continued_jobs,
    events,
    health,
    images,
    jobs,
    keys,
    lineage,
    models,
    preferences,
    sessions,
    shares,
    uploads,
    verify,
)
from serve.gateway.routes.assets import audit, comments, states
from serve.gateway.routes.exports import archives, presets
from serve.gateway.routes.library import boards, bulk, downloads, marks, search
from serve.gateway.schemas.comparison_examples import comparison_events_example
from serve.gateway.schemas.examples import (
    caller_events_example,
    examples,
    job_events_example,
)
from serve.gateway.schemas.stages import describe_stages
from serve.release import RELEASE
from serve.responses.errors import install_error_handlers
from serve.studio.files import studio_files
from serve.studio.routes import studio_routes

_DESCRIPTION = """Pictures from prompts with Stable Cascade, in three stages.

`POST /v1/jobs` accepts a job; follow it at `/v1/jobs/{id}/events` or wait for it with
`Prefer: wait=30`. Each image keeps its Stage C latent: jobs of other kinds start from it.
`vary_details` and `decode` draw it again, without running Stage C; `vary` composes anew, near it or
far from it.

Every error is `{"error": {"code", "message", "type", "param", "field"?, "request_id"}}`."""


ROUTERS = (
    jobs.router,
    continued_jobs.router,
    comparisons.router,
    events.router,
    images.router,
    search.router,
    marks.router,
    boards.router,
    bulk.router,
    downloads.router,
    states.router,
    comments.router,
    audit.router,
    archives.router,
    presets.router,
    uploads.router,
    lineage.router,
    openai_router,
    shares.router,
    verify.router,
    sessions.router,
    keys.router,
    preferences.router,
    models.router,
    health.router,
)


def create_app(services: Services) -> FastAPI:
    """Build the application around its services; it closes them when it ends."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await services.close()

    app = _Application(
        title="Cascade Serve",
        description=_DESCRIPTION,
        version=RELEASE,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # A redirect is answered with an address made from the request's own Host header.
        redirect_slashes=False,
        telemetry=TelemetryConfig(
            metrics=False,
            logs=False,
            operation_spans=False,
            auto_configure=False,
            exclude=lambda scope: scope.get("path") in PROBES,
        ),
    )
    app.state.services = services
    install_error_handlers(app)
    install_docs(app)
    for router in ROUTERS:
        # FastAPI would analyse the routes of an included router again, at its first request.
        app.router.routes.extend(router.routes)
    app.router.routes.extend(studio_routes(studio_files()))
    _add_middlewares(app, services)
    return app


def _add_middlewares(app: FastAPI, services: Services) -> None:
    """Surround the routes with middlewares, the innermost first."""
    app.add_middleware(MethodMiddleware, routes=app.routes)
    app.add_middleware(FileMiddleware, services=services)
    app.add_middleware(
        AuthMiddleware,
        keys=services.key_cache,
        recheck_s=services.keep_alive_s,
        knows_clients=services.knows_clients,
        public_url=services.settings.public_url,
    )
    app.add_middleware(ErrorMiddleware)
    origins = services.settings.allowed_origins
    if origins:
        app.add_middleware(NamedOrigins, origins=origins)
    app.add_middleware(RequestMiddleware)


class _Application(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """Return the API's document; FastAPI drops nulls from examples, so they are added last."""
        document = super().openapi()
        schemas, models = document["components"]["schemas"], self.state.services.models
        describe_stages(schemas, [model.family for model in models])
        family = models.default.family
        for name, shown in examples(family).items():
            schemas[name]["examples"] = shown
        streams = {
            "/v1/jobs/{job_id}/events": job_events_example(family),
            "/v1/events": caller_events_example(family),
            "/v1/comparisons/{comparison_id}/events": comparison_events_example(family),
        }
        for path, example in streams.items():
            stream = document["paths"][path]["get"]["responses"]["200"]["content"]
            stream["text/event-stream"]["example"] = example
        return document
