"""The OpenAPI document: examples, documented errors, and the page ``/docs`` that shows it.

The page brings its own scripts, so it works without the internet.
"""

from __future__ import annotations

import base64
import hashlib
import re
from http import HTTPStatus
from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.staticfiles import StaticFiles
from starlette.responses import HTMLResponse, Response

from serve.gateway.schemas.service import ErrorAnswer

_ASSETS = "/docs/assets"

_ID_EXAMPLE = "01JXQ5W8T3M4N6P7R8S9T0V1W2"
_GENERATE: dict[str, Any] = {
    "prompt": "a red circle on a blue background",
    "width": 256,
    "height": 256,
    "seed": 7,
}
_VARY: dict[str, Any] = {"kind": "vary_details", "latent_id": _ID_EXAMPLE, "n": 2}
_JOB_EXAMPLE: dict[str, Any] = {
    "id": _ID_EXAMPLE,
    "kind": "generate",
    "state": "running",
    "stage": "c",
    "progress": {"step": 3, "steps": 20, "index": 0},
    "position": None,
    "eta_s": 2.5,
    "created_at": "2026-01-31T12:00:00.000Z",
    "started_at": "2026-01-31T12:00:00.015Z",
    "finished_at": None,
    "deadline_at": "2026-01-31T12:15:25.000Z",
    "request": {
        "kind": "generate",
        "prompt": "a red circle on a blue background",
        "negative_prompt": "",
        "width": 256,
        "height": 256,
        "n": 1,
        "seed": 7,
        "steps": 20,
        "guidance_scale": 4.0,
        "decoder_seed": 7,
        "decoder_steps": 10,
        "decoder_guidance_scale": 0.0,
        "latent_id": None,
        "format": "png",
    },
    "images": [],
    "warnings": [],
    "error": None,
    "cost": {"c_s": 0.0, "b_s": 0.0, "a_s": 0.0},
}
_MODEL_EXAMPLE: dict[str, Any] = {
    "id": "demo",
    "object": "model",
    "created": 0,
    "owned_by": "cascade-serve",
    "revision": "1",
    "fingerprint": "sha256:0f3a",
    "licence": "Apache-2.0",
    "defaults": {
        "width": 256,
        "height": 256,
        "steps": 20,
        "guidance_scale": 4.0,
        "decoder_steps": 10,
        "decoder_guidance_scale": 0.0,
    },
    "sizes": {"multiple_of": 128, "min_side": 256, "max_side": 512},
    "suggestions": ["a red circle on a blue background"],
}
_IMAGES_BODY_EXAMPLE: dict[str, Any] = {
    "prompt": "a red circle on a blue background",
    "n": 2,
    "size": "256x256",
    "seed": 7,
}
_IMAGES_EXAMPLE: dict[str, Any] = {
    "created": 1769860800,
    "data": [
        {
            "b64_json": "iVBORw0KGgo=",
            "image_id": _ID_EXAMPLE,
            "latent_id": _ID_EXAMPLE,
            "seed": 7,
            "decoder_seed": 7,
        }
    ],
    "background": "opaque",
    "output_format": "png",
    "size": "256x256",
    "usage": {
        "total_tokens": 0,
        "input_tokens": 0,
        "output_tokens": 0,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    },
    "job_id": _ID_EXAMPLE,
    "warnings": [],
}
_READY_EXAMPLE = {
    "status": "ready",
    "checks": {"StageC": "ready", "Jobs": "ready", "database": "ready", "blobs": "ready"},
}
_ERROR_EXAMPLE = {
    "error": {
        "code": "invalid_value",
        "message": "n must be a whole number between 1 and 8",
        "type": "invalid_request_error",
        "param": "n",
        "field": "n",
        "request_id": _ID_EXAMPLE,
    }
}

_SHARE_EXAMPLE = {
    "url": f"https://pictures.example.org/v1/shared/{_ID_EXAMPLE}"
    "?expires=1769860800&signature=5f2c0a",
    "expires_at": "2026-01-31T12:00:00.000Z",
}

_STATUS_EXAMPLE = {
    "replicas": {"Gateway": 1, "Jobs": 1, "StageC": 2, "StageB": 1, "StageA": 1},
    "queued": 3,
    "running": 2,
    "last_hour": {"succeeded": 140, "failed": 1, "cancelled": 4},
}

EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "JobBody": [_GENERATE, _VARY],
    "JobAnswer": [_JOB_EXAMPLE],
    "JobList": [{"jobs": [_JOB_EXAMPLE], "next_cursor": None}],
    "ShareBody": [{"expires_in_s": 3600}],
    "ShareAnswer": [_SHARE_EXAMPLE],
    "Model": [_MODEL_EXAMPLE],
    "ModelList": [{"object": "list", "data": [_MODEL_EXAMPLE]}],
    "ImagesBody": [_IMAGES_BODY_EXAMPLE],
    "ImagesAnswer": [_IMAGES_EXAMPLE],
    "JobPatch": [{"client_state": {"seen": True}, "expected": {"inbox": "bot"}}],
    "PreferenceBody": [{"value": {"aspect": "wide"}}],
    "Preference": [{"name": "defaults", "value": {"aspect": "wide"}}],
    "Status": [_STATUS_EXAMPLE],
    "Health": [{"status": "ok"}],
    "Ready": [_READY_EXAMPLE],
    "ErrorAnswer": [_ERROR_EXAMPLE],
}


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
