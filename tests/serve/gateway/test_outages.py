"""Every route while a part of the service is away: 503 where it is needed, and never 500."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import pytest
from fastapi import FastAPI
from ray import serve as ray_serve
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    OwnerDiedError,
    RaySystemError,
    RayTaskError,
)
from ray.serve._private.common import DeploymentID
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from sqlalchemy.exc import OperationalError

from cascade_core.errors import (
    CannotBeServed,
    CascadeError,
    ModelUnavailable,
    NotReady,
    OutOfMemory,
)
from serve.gateway.dependencies import Services
from serve.gateway.jobs_client import JobsClient
from serve.gateway.ray_jobs_client import RayJobsClient
from serve.gateway.readiness import Readiness
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.schema.tables import metadata
from tests.serve.api_calls import code
from tests.serve.attacker import ENDLESS, body_for, in_our_form, make_things, routes
from tests.serve.conftest import Bearer
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.gateway.openai.test_variations import forged

OWN_BODIES: dict[str, dict[str, Any]] = {
    "/v1/jobs": {"json": {"prompt": "x"}},
    "/v1/images/generations": {"json": {"prompt": "x"}},
    "/v1/preferences/{name}": {"json": {"value": {"a": 1}}},
    "/v1/boards": {"json": {"title": "x"}},
    "/v1/comparisons": {"json": {"prompt": "x", "settings": [{"steps": 1}, {"steps": 2}]}},
    "/v1/keys": {"json": {"name": "ann", "scopes": ["read"]}},
}
CREATING = {
    ("POST", "/v1/jobs"),
    ("POST", "/v1/comparisons"),
    ("POST", "/v1/images/generations"),
    ("POST", "/v1/images/variations"),
}
CONTINUING = {("POST", f"/v1/jobs/{{job_id}}/{name}") for name in ("continue", "redo")}
CANCELLING = {("DELETE", "/v1/jobs/{job_id}")}
READY = {("GET", "/readyz")}
BYTES = {
    ("GET", "/v1/uploads/{upload_id}/content"),
    ("DELETE", "/v1/uploads/{upload_id}"),
    ("GET", "/v1/images/{image_id}"),
    ("GET", "/v1/thumbs/{image_id}"),
    ("GET", "/v1/library/zip"),
    ("POST", "/v1/assets/{image_id}/transitions"),
    ("DELETE", "/v1/assets/{image_id}"),
    ("DELETE", "/v1/images/{image_id}"),
    ("GET", "/v1/latents/{latent_id}"),
    ("DELETE", "/v1/latents/{latent_id}"),
    ("GET", "/v1/jobs/{job_id}/previews/{name}"),
    ("GET", "/v1/shared/{image_id}"),
}
WITHOUT_DATABASE = {
    ("GET", "/"),
    ("GET", "/healthz"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{model_id}"),
    ("GET", "/v1/me"),  # what is known of the keys is used for a while
    ("POST", "/v1/sessions"),  # this service has no keys
    ("POST", "/v1/images/edits"),
    ("POST", "/v1/uploads"),  # the model of these tests cannot start from one
}
RAY_ERRORS: dict[str, Exception] = {
    "not-starting": DeploymentUnavailableError(DeploymentID(name="Jobs")),
    "dead": ActorDiedError(),
    "unreachable": ActorUnavailableError("the actor is unreachable", None),
    "crowded": BackPressureError(1, 1),
    "lost-answer": OwnerDiedError("00", None, "x"),
    "broken-cluster": RaySystemError("the GCS is away"),
}


class BrokenHandle:
    """A handle of Jobs whose every call fails in Ray."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        return self

    async def remote(self, *args: Any) -> Any:
        raise self._error


def use_jobs_client(app: FastAPI, jobs: JobsClient) -> None:
    services: Services = app.state.services
    services.jobs = jobs
    services.readiness = Readiness(services.database, services.blobs, jobs)


def drop_tables(database: Database) -> None:
    metadata.drop_all(database._engine)


def lose_blobs(services: Services) -> None:
    folder = Path(unquote(urlsplit(services.settings.blob_url).path))
    shutil.rmtree(folder)
    folder.write_text("no folder")


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.gateway.ray_jobs_client.RETRY_PAUSE_S", 0.0)
    # the middleware itself needs the database, too
    monkeypatch.setattr("serve.gateway.auth.key_cache.CACHE_S", 1e9)


@pytest.fixture
def sync_wait_s() -> float:
    return 0.05


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore((tmp_path / "blobs").as_uri())


async def answers(
    app: FastAPI, client: httpx.AsyncClient, fake_jobs: FakeJobsClient, fail: Callable[[], None]
) -> dict[tuple[str, str], httpx.Response]:
    """Ask every route for things that are there, after something has failed."""
    things = await make_things(client, fake_jobs, {})
    shared = await client.post(f"/v1/images/{things['image_id']}/share", json={})
    query = dict(httpx.URL(shared.json()["url"]).params)
    latent = {"image": ("a.png", forged(things["latent_id"]), "image/png")}
    fail()
    found = {}
    # What deletes comes late; after the first key no request without one is answered.
    asked = set(routes(app)) - ENDLESS
    order = {("POST", "/v1/keys"): 2} | {route: 1 for route in asked if route[0] == "DELETE"}
    for method, path in sorted(asked, key=lambda route: (order.get(route, 0), route)):
        options = OWN_BODIES.get(path, {}) if method in ("POST", "PUT") else {}
        if path == "/v1/images/variations":
            options = {"files": latent}
        found[method, path] = await client.request(
            method,
            path.format(**things),
            params=query if "shared" in path else {},
            **(options or body_for(method, path)),
        )
    return found


def not_ready(found: dict[tuple[str, str], httpx.Response]) -> set[tuple[str, str]]:
    """Return the routes that are not ready, after a look at how every route has failed."""
    for route, answer in found.items():
        has_waited = answer.status_code == 504 and in_our_form(answer)["code"] == "timeout"
        assert answer.status_code < 500 or answer.status_code == 503 or has_waited, route
        if answer.status_code == 503:
            assert in_our_form(answer)["code"] == "not_ready", route
            assert int(answer.headers["retry-after"]) > 0, route
            assert answer.headers["x-should-retry"] == "true", route
    return {route for route, answer in found.items() if answer.status_code == 503}


async def test_without_its_database_every_route_that_needs_it_is_503(
    app: FastAPI, client: httpx.AsyncClient, fake_jobs: FakeJobsClient, database: Database
) -> None:
    found = await answers(app, client, fake_jobs, lambda: drop_tables(database))
    assert not_ready(found) == found.keys() - WITHOUT_DATABASE


async def test_without_its_blob_store_only_what_needs_bytes_is_503(
    app: FastAPI, client: httpx.AsyncClient, fake_jobs: FakeJobsClient, services: Services
) -> None:
    found = await answers(app, client, fake_jobs, lambda: lose_blobs(services))
    # The fake makes nothing by itself: those jobs run until their wait ends.
    assert not_ready(found) == BYTES | READY


@pytest.mark.parametrize("name", RAY_ERRORS)
async def test_without_the_job_service_only_what_needs_it_is_503(
    app: FastAPI,
    client: httpx.AsyncClient,
    fake_jobs: FakeJobsClient,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def status() -> None:
        raise RAY_ERRORS[name]

    monkeypatch.setattr(ray_serve, "status", status)
    broken = RayJobsClient(BrokenHandle(RAY_ERRORS[name]))
    found = await answers(app, client, fake_jobs, lambda: use_jobs_client(app, broken))
    assert not_ready(found) == CREATING | CANCELLING | READY
    # The database tells that the job does not wait.
    assert {found[route].status_code for route in CONTINUING} == {409}
    assert found["GET", "/v1/status"].json()["replicas"] is None


async def test_what_fails_unexpectedly_in_the_job_service_is_500_and_not_tried_again(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    error = RayTaskError("submit", "Traceback: hunter2", RuntimeError("hunter2"))
    use_jobs_client(app, RayJobsClient(BrokenHandle(error)))
    answer = await client.post("/v1/jobs", json={"prompt": "x"})
    assert (answer.status_code, answer.headers["x-should-retry"]) == (500, "false")
    assert "hunter2" not in answer.text


@pytest.mark.parametrize("error", [ActorDiedError(), asyncio.CancelledError()])
async def test_a_job_ends_for_its_client_though_not_every_process_heard_of_it(
    error: BaseException,
) -> None:
    class HalfBroken(BrokenHandle):
        async def remote(self, *args: Any) -> Any:
            return True

        def broadcast(self, *args: Any) -> Any:
            raise error

    assert await RayJobsClient(HalfBroken(ActorDiedError())).cancel("J")


@pytest.mark.parametrize(
    "error", [CannotBeServed("x"), ModelUnavailable("x"), NotReady("x"), OutOfMemory("x")]
)
async def test_every_503_says_when_to_come_back(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, error: CascadeError
) -> None:
    fake_jobs.error = error
    answer = await client.post("/v1/jobs", json={"prompt": "x"})
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["x-should-retry"] == ("true" if error.retryable else "false")


def raising(database: Database, error: Exception) -> Callable[..., None]:
    """Return what fails with a driver's error, as the database passes it on."""

    def fail(*_: object) -> None:
        with database.translated():
            raise error

    return fail


async def test_only_the_operator_is_told_what_the_disk_said(
    client: httpx.AsyncClient,
    database: Database,
    bearer: Bearer,
    records: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root, reader = bearer("admin"), bearer("read")
    full = sqlite3.OperationalError("database or disk is full")
    failing = OperationalError("INSERT", {}, full)
    monkeypatch.setattr(database, "probe", raising(database, failing))
    monkeypatch.setattr(database.jobs, "get", raising(database, failing))
    stranger = (await client.get("/readyz")).text
    told = (await client.get("/readyz", headers=root)).json()
    answer = await client.get("/v1/jobs/01J0000000000000000000000X", headers=reader)
    assert (answer.status_code, code(answer)) == (503, "not_ready")
    assert "disk is full" not in stranger + answer.text
    assert "disk is full" in told["checks"]["database"]
    assert any("disk is full" in record["message"] for record in records)
