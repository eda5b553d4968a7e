"""What an attacker looks at: every route of the application, and things of another key."""

from __future__ import annotations

import re
from typing import Any

import httpx
import numpy as np
from fastapi import FastAPI

from cascade_core.images.image_files import encode_image
from tests.serve.fake_jobs_client import FakeJobsClient

PICTURE = encode_image(np.full((32, 32, 3), 90, np.uint8), "png", None)

OPEN_TO_ALL = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/"),  # leads browsers to the studio
    ("GET", "/v1/shared/{image_id}"),  # its signature is the key
    ("POST", "/v1/sessions"),  # its body brings the key
}

ENDLESS = {("GET", "/v1/events")}
"""These answers end when their client leaves, which the in-process client does not."""

OF_NOBODY = (
    "/v1/models/{model_id}",
    "/v1/preferences/{name}",  # every key has its own names
    "/v1/exports/presets/{preset_name}",  # a publisher's, for all
    "/v1/keys/{key_id}",  # an admin's
    "/v1/sessions/{session_id}",  # not even an admin's
)


def routes(app: FastAPI) -> list[tuple[str, str]]:
    """Every (method, path) of the application, documented or not, but for files and the page."""
    found: list[Any] = app.routes
    return [
        (method, re.sub(r":\w+}", "}", route.path))
        for route in found
        for method in sorted(getattr(route, "methods", None) or {"GET"})
        if method != "HEAD" and not route.path.startswith(("/docs/assets", "/studio"))
    ]


async def make_things(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, headers: dict[str, str]
) -> dict[str, str]:
    """Make a job, and return what stands for each part of a path; an unknown part is a KeyError."""
    answer = await client.post("/v1/jobs", json={"prompt": "x"}, headers=headers)
    job_id = answer.json()["id"]
    await fake_jobs.run(job_id)
    image = fake_jobs.images(job_id)[0]
    board = await client.post("/v1/boards", json={"title": "x"}, headers=headers)
    both = {"prompt": "x", "settings": [{"steps": 1}, {"steps": 2}]}
    comparison = await client.post("/v1/comparisons", json=both, headers=headers)
    for entry in comparison.json()["entries"]:
        await fake_jobs.run(entry["job"]["id"])
    comment = await client.post(
        f"/v1/assets/{image.id}/comments", json={"text": "x"}, headers=headers
    )
    upload = await client.post("/v1/uploads", files={"file": PICTURE}, headers=headers)
    return {
        "job_id": job_id,
        "comment_id": comment.json()["id"],
        "upload_id": upload.json()["id"],
        "board_id": board.json()["id"],
        "comparison_id": comparison.json()["id"],
        "image_id": image.id,
        "latent_id": image.latent_id,
        "name": "0-c-5.webp",
        "preset_name": "shop",
        "model_id": "demo",
        "key_id": "0123456789ab",
        "session_id": "0123456789abcdef",
    }


def body_for(method: str, path: str) -> dict[str, Any]:
    if path.endswith(("/continue", "/redo")):
        return {"json": {"indices": [0]}}
    if path.endswith("/transitions"):
        ids = {} if "{" in path else {"ids": ["x"]}
        return {"json": {"action": "submit"} | ids}
    if "/comments" in path and method in ("POST", "PATCH"):
        return {"json": {"text": "x"} if method == "POST" else {"resolved": True}}
    if path == "/v1/verify":
        return {"files": {"file": PICTURE}}
    if path == "/v1/images/bulk":
        return {"json": {"ids": ["x"], "action": "star"}}
    if path.endswith("/votes"):
        return {"json": {"pair": 0, "choice": "left"}}
    if path.endswith("/pictures"):
        return {"json": {"ids": ["x"]}}
    if path.startswith("/v1/boards") and method in ("POST", "PATCH"):
        return {"json": {"title": "x"}}
    if path == "/v1/exports":
        return {"json": {"ids": ["x"]}}
    if path.startswith("/v1/exports/presets") and method == "PUT":
        return {"json": {"width": 100, "height": 100}}
    if method == "PUT":
        return {"json": {"value": {}}}
    return {"json": {}} if method in ("POST", "PATCH") else {}


def in_our_form(answer: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = answer.json()["error"]
    assert {"code", "message", "request_id"} <= error.keys()
    return error
