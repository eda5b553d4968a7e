"""A job's call of a stage on real Ray: cancellation, and which failures are tried again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from ray import serve as ray_serve

from cascade_core.errors import NonFiniteLatent, OutOfMemory, StageLost
from serve.jobs.stage_client import StageClient
from serve.local.cluster import APP_NAME, Running
from serve.messages import StageMessage
from tests.ray.client import ServiceClient
from tests.ray.scripted import ScriptedDeployment, entries


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "steps.jsonl"


@pytest.fixture
async def client(running: Running, log: Path) -> AsyncIterator[StageClient]:
    deployment = ray_serve.deployment(
        ScriptedDeployment,
        max_ongoing_requests=4,
        health_check_period_s=0.5,
        ray_actor_options={"num_cpus": 0},
    )
    handle = await asyncio.to_thread(
        ray_serve.run, deployment.bind(str(log)), name="scripted", route_prefix="/scripted"
    )
    yield StageClient("scripted", handle)
    await asyncio.to_thread(ray_serve.delete, "scripted")


async def ignore(message: StageMessage) -> None:
    return None


async def test_the_next_request_never_overlaps_a_cancelled_one(
    client: StageClient, log: Path
) -> None:
    stepping = asyncio.Event()

    async def on_message(message: StageMessage) -> None:
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


async def test_a_stored_latent_is_drawn_small_for_checkers(
    service: ServiceClient, running: Running
) -> None:
    prompt = "a large red circle in the center on a white background"
    job = service.finished(service.create(prompt=prompt, seed=3)["id"])
    stored = service.http.get(f"/v1/latents/{job['images'][0]['latent_id']}").content
    handle = ray_serve.get_deployment_handle("StageC", APP_NAME)
    drawn = await StageClient("c", handle, method="preview").call(stored, on_message=ignore)
    picture = Image.open(BytesIO(drawn.data)).convert("RGB")
    middle, corner = picture.getpixel((96, 96)), picture.getpixel((4, 4))
    assert isinstance(middle, tuple)
    assert isinstance(corner, tuple)
    assert middle[0] - middle[1] > corner[0] - corner[1] + 50  # red stands in the middle


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
