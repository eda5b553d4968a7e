"""A loopback server that speaks the HTTP contract with scripted jobs."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from PIL import Image

from tests.limits import HANG_S

_STAGES = (
    {"name": "c", "title": "C composing", "share": 0.6, "is_stored": True},
    {"name": "b", "title": "B detailing", "share": 0.35, "is_stored": False},
    {"name": "a", "title": "A decoding", "share": 0.05, "is_stored": False},
)


@dataclass
class ScriptedService:
    """What the server does, and what it was asked.

    Attributes:
        break_stream_after: events sent before a stream is cut; None never cuts.
        restarts_left: questions for a job that are answered with 503.
        stages: what it tells of its stages; an older service tells none.
        others: further models that it lists.
        hold_open: jobs stay at their first step until they are cancelled.
    """

    url: str = ""
    refuse: tuple[int, dict[str, str]] | None = None
    job_error: dict[str, str] | None = None
    break_stream_after: int | None = None
    restarts_left: int = 0
    hold_open: bool = False
    is_ready: bool = True
    unready_reason: str = "stage C is starting"
    warnings: list[str] = field(default_factory=list)
    stages: list[dict[str, Any]] = field(default_factory=lambda: [*_STAGES])
    others: list[dict[str, Any]] = field(default_factory=list)
    authorization: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    resumed_from: list[str] = field(default_factory=list)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    cancelled: threading.Event = field(default_factory=threading.Event)
    watched: threading.Event = field(default_factory=threading.Event)

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        """Accept a job; its end is decided here, its events tell the way."""
        self.bodies.append(body)
        job_id = f"JOB{len(self.jobs)}"
        is_vary = body["kind"] == "vary_details"
        n = body.get("n") or len(body.get("variants", [None]))
        latent = body.get("latent_id")
        self.jobs[job_id] = {
            "id": job_id,
            "kind": body["kind"],
            "state": "queued",
            "stage": None,
            "progress": None,
            "position": 1,
            "eta_s": 2.0,
            "created_at": "2026-01-31T12:00:00.000Z",
            "started_at": None,
            "finished_at": None,
            "request": {"prompt": "kept", "n": n, "format": "png"} | body,
            "images": [_image(job_id, index, latent) for index in range(n)],
            "warnings": self.warnings,
            "error": None,
            "cost": {"c_s": 0.0 if is_vary else 0.5, "b_s": 0.25, "a_s": 0.125},
        }
        return self.jobs[job_id] | {"images": []}

    def finish(self, job_id: str) -> dict[str, Any]:
        """Bring a job to its end."""
        job = self.jobs[job_id]
        if self.cancelled.is_set():
            job |= {"state": "cancelled", "images": []}
        elif self.job_error:
            job |= {"state": "failed", "error": self.job_error, "images": []}
        else:
            job |= {"state": "succeeded", "finished_at": "2026-01-31T12:00:01.000Z"}
        return job

    def events(self, job_id: str) -> list[tuple[str, dict[str, Any]]]:
        """Return all events of a job's life."""
        job = self.jobs[job_id]
        stages = ("b", "a") if job["kind"] == "vary_details" else ("c", "b", "a")
        steps = [
            ("progress", {"stage": stage, "step": step, "steps": 2, "index": index})
            for index in range(job["request"]["n"])
            for stage in stages
            for step in (1, 2)
        ]
        pictures = [("image", {"index": index}) for index in range(job["request"]["n"])]
        return [("queued", {"position": 1, "eta_s": 2.0}), *steps, *pictures, (self._end(), {})]

    def _end(self) -> str:
        return "failed" if self.job_error else "succeeded"


def _image(job_id: str, index: int, latent_id: str | None) -> dict[str, Any]:
    return {
        "id": f"IMG-{job_id}-{index}",
        "index": index,
        "latent_id": latent_id or f"LAT-{job_id}-{index}",
        "seed": 7 + index,
        "decoder_seed": 7 + index,
        "width": 256,
        "height": 256,
    }


def _error(status: int, body: dict[str, str]) -> JSONResponse:
    return JSONResponse({"error": body | {"request_id": "REQ1"}}, status)


def _not_found() -> JSONResponse:
    return _error(404, {"code": "not_found", "message": "there is no such thing"})


def build_app(service: ScriptedService) -> FastAPI:
    """Return the server's routes."""
    app = FastAPI()

    @app.post("/v1/jobs")
    async def create(request: Request) -> Response:
        if service.refuse:
            return _error(*service.refuse)
        body = await request.json()
        if body.get("latent_id") == "nosuch":
            return _not_found()
        return JSONResponse(service.create(body), 202)

    @app.get("/v1/jobs")
    def list_jobs(state: str = "") -> Response:
        found = [job for job in service.jobs.values() if state in ("", job["state"])]
        return JSONResponse({"jobs": found[::-1], "next_cursor": None})

    @app.get("/v1/jobs/{job_id}")
    def job(job_id: str, request: Request) -> Response:
        service.authorization = request.headers.get("authorization", "")
        if service.restarts_left:
            service.restarts_left -= 1
            return _error(503, {"code": "not_ready", "message": "restarting"})
        found = service.jobs.get(job_id)
        return JSONResponse(found) if found else _not_found()

    @app.delete("/v1/jobs/{job_id}")
    def cancel(job_id: str) -> Response:
        if job_id not in service.jobs:
            return _not_found()
        service.cancelled.set()
        return JSONResponse(service.finish(job_id), 202)

    @app.get("/v1/jobs/{job_id}/events")
    def events(job_id: str, request: Request) -> Response:
        last = request.headers.get("last-event-id", "")
        service.resumed_from.append(last)
        return StreamingResponse(
            _stream(service, job_id, int(last or 0)), media_type="text/event-stream"
        )

    @app.get("/v1/images/{image_id}")
    def image(image_id: str) -> Response:
        if not image_id.startswith("IMG-"):
            return _not_found()
        headers = {"x-latent-id": image_id.replace("IMG-", "LAT-")}
        return Response(_png(), media_type="image/png", headers=headers)

    _add_service_routes(app, service)
    return app


def _add_service_routes(app: FastAPI, service: ScriptedService) -> None:
    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        return {"data": [{"id": "demo", "stages": service.stages}, *service.others]}

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
    def readyz() -> Response:
        if service.is_ready:
            return JSONResponse({"status": "ready"})
        return _error(503, {"code": "not_ready", "message": service.unready_reason})


def _stream(service: ScriptedService, job_id: str, last: int) -> Iterator[str]:
    sent = 0
    for number, (kind, data) in enumerate(service.events(job_id), start=1):
        if number <= last:
            continue
        if sent == service.break_stream_after:
            return
        if kind in ("succeeded", "failed"):
            service.finish(job_id)
        yield f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"
        sent += 1
        if service.hold_open and kind == "progress":
            service.watched.set()
            service.cancelled.wait(HANG_S)
            return


def _png() -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(target, "PNG")
    return target.getvalue()
