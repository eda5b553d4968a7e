"""A job's call of a stage on real Ray: cancellation, tries after failures, and previews."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ray import serve as ray_serve
from ray.serve.handle import DeploymentHandle
from ulid import ULID

from cascade_core.errors import NonFiniteLatent, OutOfMemory, StageLost
from serve.jobs.dispatch.stage_client import StageClient
from serve.local.running import Running
from serve.messages import StageMessage
from tests.ray.client import ServiceClient
from tests.ray.fake_stages import HELD
from tests.ray.scripted import ScriptedDeployment, entries


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scripted") / "steps.jsonl"


@pytest.fixture(scope="module")
def scripted(running: Running, log: Path) -> Iterator[DeploymentHandle]:
    """An application of the scripted stage alone."""
    deployment = ray_serve.deployment(
        ScriptedDeployment,
        max_ongoing_requests=4,
        health_check_period_s=0.5,
        ray_actor_options={"num_cpus": 0},
    )
    yield ray_serve.run(deployment.bind(str(log)), name="scripted", route_prefix="/scripted")
    ray_serve.delete("scripted")


@pytest.fixture
def client(scripted: DeploymentHandle, log: Path) -> StageClient:
    """A client of the stage, whose log begins anew."""
    log.unlink(missing_ok=True)
    return StageClient("scripted", scripted)


def ignore(message: StageMessage) -> None:
    return None


async def test_the_next_request_never_overlaps_a_cancelled_one(
    client: StageClient, log: Path
) -> None:
    stepping = asyncio.Event()

    def on_message(message: StageMessage) -> None:
        if message["type"] == "step":
            stepping.set()

    first = asyncio.create_task(client.call({"name": "first", "steps": 200}, on_message=on_message))
    await stepping.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    result = await client.call({"name": "next", "steps": 3}, on_message=ignore)
    assert result.data == b"next"
    steps = [entry for entry in entries(log) if entry[1] != "admit"]
    names = [name for name, _ in steps]
    assert names == ["first"] * names.count("first") + ["next"] * 6
    assert names.count("first") < 2 * 100  # it stopped long before its 200 steps
    assert [what for _, what in steps] == ["begin", "end"] * (len(steps) // 2)


@pytest.mark.parametrize("failures", [1, 2])
async def test_a_retryable_failure_is_tried_again_up_to_twice(
    client: StageClient, log: Path, failures: int
) -> None:
    task = {"name": "again", "steps": 1, "failures": failures, "code": "out_of_memory"}
    result = await client.call(task, on_message=ignore)
    assert result.data == b"again"
    assert entries(log).count(("again", "admit")) == failures + 1


async def test_a_third_retryable_failure_is_the_last(client: StageClient, log: Path) -> None:
    task = {"name": "doomed", "steps": 1, "failures": 9, "code": "out_of_memory"}
    with pytest.raises(OutOfMemory):
        await client.call(task, on_message=ignore)
    assert entries(log) == [("doomed", "admit")] * 3


async def test_any_other_failure_keeps_its_code_and_is_not_tried_again(
    client: StageClient, log: Path
) -> None:
    task = {"name": "broken", "steps": 1, "failures": 9, "code": "non_finite_latent"}
    with pytest.raises(NonFiniteLatent, match="as the script says"):
        await client.call(task, on_message=ignore)
    assert entries(log) == [("broken", "admit")]


async def test_a_request_that_kills_its_replica_twice_is_failed_and_the_next_one_works(
    client: StageClient, log: Path
) -> None:
    with pytest.raises(StageLost):
        await client.call({"name": "poison", "steps": 2, "dies": True}, on_message=ignore)
    assert entries(log).count(("poison", "admit")) == 2
    assert (await client.call({"name": "next", "steps": 1}, on_message=ignore)).data == b"next"


async def test_a_replica_that_lost_its_device_refuses_work_until_it_is_replaced(
    client: StageClient, log: Path
) -> None:
    unlucky = {"name": "unlucky", "steps": 2, "breaks": 1}
    results = await asyncio.gather(
        client.call(unlucky, on_message=ignore),
        client.call(unlucky | {"name": "next"}, on_message=ignore),
    )
    assert [result.data for result in results] == [b"unlucky", b"next"]
    assert sum(what == "broken" for _, what in entries(log)) == 1


def wait_for(service: ServiceClient, **body: Any) -> str:
    """Make a job and wait for its end; returns its id."""
    answer = service.http.post("/v1/jobs", json=body, headers={"prefer": "wait=120"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["state"] == "succeeded"
    job_id: str = answer.json()["id"]
    return job_id


def stages_with_previews(service: ServiceClient, job_id: str) -> list[str]:
    events = service.events(job_id)
    return [event.data["stage"] for event in events if "preview_url" in event.data]


def test_a_job_whose_client_only_waits_has_no_previews(service: ServiceClient) -> None:
    assert stages_with_previews(service, wait_for(service, prompt="x")) == []
    watched_id = service.create(prompt="x")["id"]
    assert stages_with_previews(service, watched_id) == ["c", "c", "c", "b"]


def test_previews_come_from_the_next_stage_on_once_a_client_follows_the_job(
    service: ServiceClient, tmp_path: Path
) -> None:
    job_id, may_step = str(ULID()), tmp_path / "may-step"
    held = f"{HELD}{may_step}"
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(wait_for, service, id=job_id, prompt=held)
        try:
            service.wait_until_accepted(job_id)
            other_id = service.create(prompt=held)["id"]
            events = service.events(job_id)
            assert next(events).type == "queued"
            # The gateway tells Jobs of both in the same way: this call cannot overtake the other.
            assert service.http.delete(f"/v1/jobs/{other_id}").json()["state"] == "cancelled"
        finally:
            may_step.touch()
        assert [event.data["stage"] for event in events if "preview_url" in event.data] == ["b"]
        assert waiting.result() == job_id
