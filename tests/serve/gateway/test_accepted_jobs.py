"""After a job is accepted: what fails then loses no job, and a second try makes no second one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from cascade_core.errors import Internal, NotReady
from cascade_core.request import GenerationRequest
from serve.gateway import waiting_clients
from serve.gateway.dependencies import Services
from serve.gateway.events import event_hub as events
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.storage.events import EventLog
from serve.storage.job_store import JobStore
from serve.storage.records import JobIdentity, JobOwner
from tests.limits import HANG_S
from tests.serve.attacker import in_our_form
from tests.serve.fake_jobs_client import FakeJobsClient
from tests.serve.gateway.openai.test_variations import forged
from tests.serve.gateway.test_outages import lose_blobs
from tests.serve.gateway.test_waiting_clients import ended
from tests.serve.waiting import until


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    # the middleware itself needs the database, too
    monkeypatch.setattr("serve.gateway.auth.key_cache.CACHE_S", 1e9)
    monkeypatch.setattr(waiting_clients, "PAUSE_S", 0.01)
    monkeypatch.setattr(waiting_clients, "OUTAGE_PAUSE_S", 0.01)


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore((tmp_path / "blobs").as_uri())


PATH = "/v1/images/generations"
WAITING: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    ("/v1/jobs", {}, {}),
    # For JSON, the job's last event would be enough.
    ("/v1/jobs", {}, {"prefer": "wait=5", "accept": "image/png"}),
    ("/v1/images/generations", {}, {}),
]


def break_reading(database: Database, fake_jobs: FakeJobsClient) -> Callable[[], None]:
    """Let jobs be accepted, but not read again; returns what ends that."""
    real = database.jobs.get

    def fail(job_id: str) -> Any:
        raise NotReady("the database does not answer")

    async def run_and_break(job_id: str) -> None:
        await fake_jobs.run(job_id)
        database.jobs.get = fail

    fake_jobs.on_submit = run_and_break
    return partial(setattr, database.jobs, "get", real)


@pytest.mark.parametrize(("path", "body", "headers"), WAITING)
async def test_without_a_key_no_client_is_asked_to_send_an_accepted_job_again(
    live_client: httpx.AsyncClient,
    fake_jobs: FakeJobsClient,
    database: Database,
    path: str,
    body: dict[str, Any],
    headers: dict[str, str],
) -> None:
    mend = break_reading(database, fake_jobs)
    answer = await live_client.post(path, json={"prompt": "x"} | body, headers=headers)
    mend()
    assert (answer.status_code, in_our_form(answer)["code"]) == (504, "timeout")
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers
    job_id = answer.json()["job_id"]
    assert answer.headers["location"] == f"/v1/jobs/{job_id}"
    assert (await live_client.get(f"/v1/jobs/{job_id}")).json()["state"] == "succeeded"


@pytest.mark.parametrize(("path", "body", "headers"), WAITING)
async def test_with_a_key_a_second_try_after_an_outage_finds_the_accepted_job(
    live_client: httpx.AsyncClient,
    fake_jobs: FakeJobsClient,
    database: Database,
    path: str,
    body: dict[str, Any],
    headers: dict[str, str],
) -> None:
    mend = break_reading(database, fake_jobs)
    headers = headers | {"idempotency-key": "k"}
    answer = await live_client.post(path, json={"prompt": "x"} | body, headers=headers)
    assert (answer.status_code, in_our_form(answer)["code"]) == (503, "not_ready")
    assert answer.headers["x-should-retry"] == "true"
    job_id = answer.json()["job_id"]
    mend()
    again = await live_client.post(path, json={"prompt": "x"} | body, headers=headers)
    assert again.is_success
    assert again.headers["location"] == f"/v1/jobs/{job_id}"
    assert len(database.jobs.page()[0]) == 1


async def test_openais_client_makes_one_job_though_the_database_fails_after_it(
    openai_client: AsyncOpenAI, fake_jobs: FakeJobsClient, database: Database
) -> None:
    mend = break_reading(database, fake_jobs)
    with pytest.raises(openai.InternalServerError):
        await openai_client.with_options(max_retries=2).images.generate(prompt="x")
    mend()
    assert [job.state for job in database.jobs.page()[0]] == ["succeeded"]


async def test_images_that_cannot_be_read_after_they_were_made_are_not_made_again(
    openai_client: AsyncOpenAI, fake_jobs: FakeJobsClient, database: Database, services: Services
) -> None:
    async def run_and_break(job_id: str) -> None:
        await fake_jobs.run(job_id)
        lose_blobs(services)

    fake_jobs.on_submit = run_and_break
    with pytest.raises(openai.InternalServerError) as caught:
        await openai_client.with_options(max_retries=2).images.generate(prompt="x")
    assert caught.value.status_code == 504
    assert len(database.jobs.page()[0]) == 1


@pytest.mark.parametrize("options", [{}, {"stream": True}])
async def test_a_wait_outlasts_a_database_that_is_away_for_a_moment(
    openai_client: AsyncOpenAI,
    fake_jobs: FakeJobsClient,
    options: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "_RETRY_S", 0.01)
    real, failures = EventLog.of_jobs, iter(range(3))

    def of_jobs(log: EventLog, after_ids: Mapping[str, int], limit: int) -> Any:
        if next(failures, None) is not None:
            raise NotReady("the database does not answer")
        return real(log, after_ids, limit)

    monkeypatch.setattr(EventLog, "of_jobs", of_jobs)
    fake_jobs.on_submit = fake_jobs.run
    answer: Any = await openai_client.images.generate(prompt="x", **options)
    if options:
        assert [event.type async for event in answer] == ["image_generation.completed"]
    else:
        assert len(answer.data) == 1
    assert next(failures, None) is None


async def test_a_job_whose_submission_broke_off_after_it_was_recorded_is_accepted(
    client: httpx.AsyncClient, fake_jobs: FakeJobsClient
) -> None:
    async def die(job_id: str) -> None:
        raise NotReady("the job service restarts")

    fake_jobs.on_submit = die
    answer = await client.post("/v1/jobs", json={"prompt": "x"})
    assert answer.status_code == 202
    assert answer.json()["id"] == fake_jobs.database.jobs.open_ids()[0]


@pytest.mark.parametrize("has_key", [False, True])
async def test_a_job_of_unknown_fate_ends_unless_a_second_try_would_find_it(
    client: httpx.AsyncClient,
    fake_jobs: FakeJobsClient,
    has_key: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = JobStore.accepted_before
    job_ids: list[str] = []

    def fail(store: JobStore, identity: JobIdentity) -> str | None:
        if job_ids:
            raise NotReady("the database does not answer")
        return real(store, identity)

    async def die(job_id: str) -> None:
        job_ids.append(job_id)
        raise NotReady("the job service restarts")

    monkeypatch.setattr(JobStore, "accepted_before", fail)
    fake_jobs.on_submit = die
    headers = {"idempotency-key": "k"} if has_key else {}
    answer = await client.post("/v1/jobs", json={"prompt": "x"}, headers=headers)
    assert (answer.status_code, answer.headers["x-should-retry"]) == (503, "true")
    if has_key:
        monkeypatch.undo()
        again = await client.post("/v1/jobs", json={"prompt": "x"}, headers=headers)
        assert again.json()["id"] == job_ids[0]
    else:
        assert await ended(fake_jobs, job_ids[0]) == "cancelled"


async def test_a_client_that_left_takes_its_job_along_after_an_outage(
    services: Services, fake_jobs: FakeJobsClient, make_request: Callable[..., GenerationRequest]
) -> None:
    job_id = await fake_jobs.submit(
        make_request(), None, JobOwner(None, None), JobIdentity("0", None, "d")
    )
    fake_jobs.cancel_errors = [NotReady("the job service restarts"), Internal("a bug")] * 30
    services.waiting_clients.cancel_abandoned(job_id)
    assert await ended(fake_jobs, job_id) == "cancelled"


async def test_a_client_state_that_was_changed_is_not_refused_at_the_second_try(
    client: httpx.AsyncClient,
    fake_jobs: FakeJobsClient,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job_id = (await client.post("/v1/jobs", json={"prompt": "x", "client_state": {"a": 1}})).json()[
        "id"
    ]
    real, reads = database.jobs.get, iter([True])

    def once(job_id: str) -> Any:
        if next(reads, False):
            return real(job_id)
        raise NotReady("the database does not answer")

    monkeypatch.setattr(database.jobs, "get", once)
    body = {"client_state": {"a": 2}, "expected": {"a": 1}}
    answer = await client.patch(f"/v1/jobs/{job_id}", json=body)
    assert (answer.status_code, answer.json()["client_state"]) == (200, {"a": 2})


@pytest.mark.parametrize("path", ["/v1/jobs", PATH, PATH + "?stream", "/v1/images/variations"])
async def test_a_client_that_leaves_right_after_its_job_was_accepted_cancels_it(
    client: httpx.AsyncClient,
    services: Services,
    fake_jobs: FakeJobsClient,
    database: Database,
    path: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ray Serve cancels the request wherever it is; the in-process transport does the same."""
    first = (await client.post("/v1/jobs", json={"prompt": "x"})).json()["id"]
    await fake_jobs.run(first)
    options: dict[str, Any] = {"json": {"prompt": "x"}, "headers": {"prefer": "wait=60"}}
    if "stream" in path:
        options["json"]["stream"] = True
    if "variations" in path:
        options = {"files": {"image": ("a.png", forged(fake_jobs.images(first)[0].latent_id))}}
    accepted: list[str] = []
    reading, go_on, real = threading.Event(), threading.Event(), database.jobs.get

    def slow(job_id: str) -> Any:
        reading.set()
        go_on.wait(HANG_S)
        return real(job_id)

    async def note(job_id: str) -> None:
        accepted.append(job_id)

    monkeypatch.setattr(database.jobs, "get", slow)
    fake_jobs.on_submit = note
    asking = asyncio.create_task(client.post(path, **options))
    await until(
        lambda: reading.is_set() or bool(accepted and services.waiting_clients.count(accepted[0]))
    )
    asking.cancel()
    go_on.set()
    assert await ended(fake_jobs, accepted[0]) == "cancelled"
