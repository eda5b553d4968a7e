"""The OpenAPI document: documented streams and errors, and the page ``/docs`` that shows it.

The page brings its own scripts, so it works without the internet.
"""

from __future__ import annotations

import base64
import hashlib
import re
from http import HTTPStatus
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.staticfiles import StaticFiles
from starlette.responses import HTMLResponse, Response

from serve.gateway.schemas.service import ErrorAnswer

_ASSETS = "/docs/assets"


def new_router(tag: str) -> APIRouter:
    """Return a router whose routes are documented under a tag, each with its function's name."""
    return APIRouter(tags=[tag], generate_unique_id_function=lambda route: route.name)


def event_stream_content(example: str, *types: str) -> dict[str, Any]:
    """Return the OpenAPI content of Server-Sent Events of these types; the schema is of one."""
    schema = {
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "event": {"enum": list(types)},
            "data": {"type": "string", "contentMediaType": "application/json"},
            "id": {"type": "string"},
        },
    }
    return {"text/event-stream": {"schema": schema, "example": example}}


def errors(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of a route's errors."""
    entries: dict[int | str, dict[str, Any]] = {
        int(status): {"model": ErrorAnswer, "description": status.phrase} for status in statuses
    }
    return entries | {"default": {"model": ErrorAnswer, "description": "Any other error"}}


def secured(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of a route that needs an API key."""
    by_key = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)
    return errors(*statuses, *by_key)


def install_docs(app: FastAPI) -> None:
    """Serve Swagger UI at ``/docs`` from the files of the package fastapi-offline."""
    folder = str(files("fastapi_offline") / "static")
    app.mount(_ASSETS, _Assets(directory=folder), name="docs_assets")

    page = get_swagger_ui_html(
        openapi_url=app.openapi_url or "",
        title=app.title,
        swagger_js_url=f"{_ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{_ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{_ASSETS}/favicon.png",
    )
    page.headers["content-security-policy"] = _policy(bytes(page.body).decode())

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        """Return the page."""
        return page


class _Assets(StaticFiles):
    """Static files that browsers may cache; answers of the API are not cached."""

    def file_response(self, *args: Any, **more: Any) -> Response:
        """Return a file's answer."""
        response = super().file_response(*args, **more)
        response.headers["cache-control"] = "public, max-age=3600"
        return response


def _policy(page: str) -> str:
    """Return the content security policy: the page's own script, files and server, nothing else."""
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()) for text in scripts)
    allowed = " ".join(f"'sha256-{digest.decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src 'self' {allowed}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; connect-src 'self'; frame-ancestors 'none'; "
        "base-uri 'none'; form-action 'none'"
    )
