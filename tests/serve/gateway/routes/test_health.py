"""Whether the service is alive, ready and how busy it is."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from cascade_core.errors import InvalidRequest
from serve.gateway import readiness
from tests.serve.api_calls import code
from tests.serve.conftest import Bearer
from tests.serve.fake_jobs_client import FakeJobsClient


async def test_only_an_admin_is_told_why_the_service_is_not_ready(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer
) -> None:
    fake_jobs.states["StageC"] = "DEPLOY_FAILED: no such host gpu-7.internal"
    root, reader = bearer("admin"), bearer("read")
    for headers in ({}, reader, {"authorization": "Bearer csk_wrong"}):
        shown = (await client.get("/readyz", headers=headers)).json()
        assert shown["checks"]["StageC"] == "not ready"
        assert shown["checks"]["Jobs"] == "ready"
        assert shown["error"]["message"] == "StageC: not ready"
    told = (await client.get("/readyz", headers=root)).json()
    assert told["checks"]["StageC"] == fake_jobs.states["StageC"]
    assert "gpu-7.internal" in told["error"]["message"]


async def test_the_service_is_alive_and_ready(client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz")).json() == {"status": "ok"}
    ready = await client.get("/readyz")
    assert ready.status_code == 200
    assert set(ready.json()["checks"].values()) == {"ready"}
    assert ready.json()["checks"].keys() == {"StageC", "Jobs", "database", "blobs"}


async def test_readyz_says_what_is_missing(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "KEPT_S", 0.0)
    fake_jobs.states["StageC"] = "loading the model"
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert code(answer) == "not_ready"
    assert answer.json()["error"]["message"] == "StageC: loading the model"
    assert answer.json()["checks"]["Jobs"] == "ready"
    fake_jobs.error = InvalidRequest("no such application")
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert "jobs: no such application" in answer.json()["error"]["message"]
    assert (await client.get("/healthz")).status_code == 200


async def test_readyz_finds_a_store_and_a_database_that_do_not_work(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, tmp_path: Any
) -> None:
    (folder,) = (tmp_path / "with space").iterdir()
    folder.rmdir()
    folder.write_text("a file where the folder was")
    with fake_jobs.database._engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE jobs")
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert "database: the database does not answer" in answer.json()["error"]["message"]
    assert "blobs: the blob store does not answer" in answer.json()["error"]["message"]


async def test_the_status_shows_each_stage_and_no_prompt(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient, bearer: Bearer
) -> None:
    ann, bob, root = bearer("create", "read"), bearer("read"), bearer("admin")
    job = (await client.post("/v1/jobs", json={"prompt": "a secret"}, headers=ann)).json()
    await fake_jobs.make_image(job["id"])
    answer = await client.get("/v1/status", headers=bob)
    assert "secret" not in answer.text
    assert answer.json()["checks"] is None
    stages = {stage["name"]: stage for stage in answer.json()["stages"]}
    assert list(stages) == ["c", "b", "a", "e"]
    assert stages["c"] == {
        "model": "demo",
        "name": "c",
        "title": "C composing",
        "deployment": "StageC",
        "replicas": 1,
        "starting": 0,
        "jobs": 1,
        "images": 0,
        "seconds_per_image": None,
    }
    fake_jobs.states["StageB"] = "no such host gpu-7.internal"
    told = (await client.get("/v1/status", headers=root)).json()["checks"]
    assert told["StageB"] == "no such host gpu-7.internal"
    assert (told["StageC"], told["database"], told["blobs"]) == ("ready", "ready", "ready")
    assert (stages["b"]["replicas"], stages["b"]["jobs"]) == (0, 0)
    fake_jobs.error = InvalidRequest("away")
    unknown = (await client.get("/v1/status", headers=bob)).json()["stages"]
    assert {(stage["replicas"], stage["starting"]) for stage in unknown} == {(None, None)}
