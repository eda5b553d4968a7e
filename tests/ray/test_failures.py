"""Cancel, kill -9 and bad weights on real Ray: nothing accepted is lost, C is never repeated."""

from __future__ import annotations

import asyncio
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ray import serve as ray_serve

from cascade_core.checkpoints.model_folders import DEMO_MODEL_DIR
from serve.local.running import Running, why_not_running
from serve.settings import Settings
from serve.stages.deployments import StageDeployment
from tests.limits import HANG_S
from tests.ray.client import TERMINAL, ServiceClient, replica_process
from tests.serve.served import models_of

PROMPT = "a small blue square on the left on a yellow background"
SLOW = {"width": 512, "height": 512, "steps": 40, "decoder_steps": 40}


def kill(deployment: str) -> None:
    """SIGKILL the deployment's replica and wait until the process is gone."""
    process = replica_process(deployment)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=HANG_S)


@pytest.mark.parametrize(
    ("victim", "stage"),
    [("StageC", "c"), ("StageB", "b"), ("StageA", "b"), ("Jobs", "c"), ("Jobs", "b")],
)
def test_a_job_survives_kill_9_and_never_repeats_a_finished_stage_c(
    service: ServiceClient, victim: str, stage: str
) -> None:
    job_id = service.create(prompt=PROMPT, seed=3, **SLOW)["id"]
    service.until(job_id, "progress", stage)
    kill(victim)
    job = service.finished(job_id)
    assert job["state"] == "succeeded", job["error"]
    assert len(job["images"]) == 1
    stages = [e.data["stage"] for e in service.events(job_id) if e.type == "progress"]
    assert "c" not in stages[stages.index("b") :]
    ends = [e for e in service.events(job_id) if e.type in {"succeeded", "failed", "cancelled"}]
    assert len(ends) == 1


def test_a_job_of_several_images_survives_kill_9_of_its_owner(service: ServiceClient) -> None:
    job_id = service.create(prompt=PROMPT, seed=7, n=3, **SLOW)["id"]
    service.until(job_id, "progress", "b")
    kill("Jobs")
    job = service.finished(job_id)
    assert job["state"] == "succeeded", job["error"]
    assert [image["seed"] for image in job["images"]] == [7, 8, 9]


def drafted(service: ServiceClient, **body: object) -> dict[str, Any]:
    """Return a job of three images that waits, and has run Stage C alone."""
    job_id = service.create(prompt=PROMPT, n=3, stop_after="c", **body)["id"]
    job: dict[str, Any] = service.until(job_id, "waiting").data["job"]
    assert job["cost"]["b_s"] == job["cost"]["a_s"] == 0 < job["cost"]["c_s"]
    return job


def check_continued(service: ServiceClient, job: dict[str, Any], indices: list[int]) -> None:
    """Follow a continued job; it must end once, with the chosen pictures, without Stage C."""
    ended = service.finished(job["id"])
    assert ended["state"] == "succeeded", ended["error"]
    assert [image["index"] for image in ended["images"]] == indices
    assert ended["cost"]["c_s"] == job["cost"]["c_s"]
    ends = [event.type for event in service.events(job["id"]) if event.type in TERMINAL]
    assert ends == ["succeeded"]


@pytest.mark.parametrize("victim", ["Jobs", "Gateway"])
def test_a_waiting_job_is_continued_after_kill_9(service: ServiceClient, victim: str) -> None:
    job = drafted(service, seed=31)
    kill(victim)
    service.wait_until_ready()
    url, body = f"/v1/jobs/{job['id']}/continue", {"indices": [2, 0]}
    answer = service.http.post(url, json=body)
    assert answer.status_code == 202, answer.text
    check_continued(service, job, [0, 2])


@pytest.mark.parametrize("indices", [[1], [0, 2]])
def test_a_continued_job_survives_kill_9_of_its_owner_and_composes_nothing_again(
    service: ServiceClient, indices: list[int]
) -> None:
    job = drafted(service, seed=41, steps=5, decoder_steps=40)
    url, body = f"/v1/jobs/{job['id']}/continue", {"indices": indices}
    assert service.http.post(url, json=body).status_code == 202
    service.until(job["id"], "progress", "b")
    kill("Jobs")
    check_continued(service, job, indices)


@pytest.mark.parametrize("victim", ["Jobs", "StageC"])
def test_a_redo_survives_kill_9_and_composes_nothing_else_again(
    service: ServiceClient, victim: str
) -> None:
    job = drafted(service, seed=51, steps=30, width=512, height=512)
    url, body, headers = f"/v1/jobs/{job['id']}/redo", {"indices": [0, 2]}, {"idempotency-key": "r"}
    after = max(event.id for event in service.events(job["id"]))
    assert service.http.post(url, json=body, headers=headers).status_code == 202
    next(event for event in service.events(job["id"], after) if event.type == "progress")
    kill(victim)
    service.wait_until_ready()
    assert service.http.post(url, json=body, headers=headers).status_code == 202  # the same again
    waiting: dict[str, Any] = service.until(job["id"], "waiting").data["job"]
    assert [one["seed"] for one in waiting["compositions"]] == [54, 52, 56]
    assert waiting["compositions"][1] == job["compositions"][1]
    assert len(waiting["redone"]) == 1
    assert waiting["cost"]["b_s"] == 0
    answer = service.http.post(f"/v1/jobs/{job['id']}/continue", json={"indices": [0, 1]})
    assert answer.status_code == 202, answer.text
    check_continued(service, waiting, [0, 1])


def test_a_killed_gateway_loses_no_job(service: ServiceClient) -> None:
    job_id = service.create(prompt=PROMPT, seed=4, **SLOW)["id"]
    service.until(job_id, "progress", "c")
    kill("Gateway")
    service.wait_until_ready()
    assert service.finished(job_id)["state"] == "succeeded"


def test_a_client_that_waits_for_a_job_gets_it_even_if_the_process_that_runs_it_dies(
    service: ServiceClient,
) -> None:
    body = {"prompt": PROMPT, "seed": 6, **SLOW}
    known = {job["id"] for job in service.http.get("/v1/jobs").json()["jobs"]}
    with ThreadPoolExecutor() as threads:
        post = partial(service.http.post, "/v1/jobs", json=body, headers={"Prefer": "wait=60"})
        answer = threads.submit(post)
        (job_id,) = service.wait_for_new_job(known)
        service.until(job_id, "progress", "c")
        kill("Jobs")
        response = answer.result(timeout=HANG_S)
    job = response.json()
    assert response.status_code == (200 if job["state"] == "succeeded" else 202)  # after 60 s
    assert job["id"] == job_id
    assert service.finished(job_id)["state"] == "succeeded"


@pytest.mark.parametrize("n", [1, 3])
def test_a_cancelled_job_ends_at_once_and_makes_room_for_the_next(
    service: ServiceClient, n: int
) -> None:
    job_id = service.create(prompt=PROMPT, seed=5, n=n, **(SLOW | {"steps": 100}))["id"]
    service.until(job_id, "progress", "c")
    assert service.http.delete(f"/v1/jobs/{job_id}").status_code == 200
    assert service.job(job_id)["state"] == "cancelled"
    following = service.finished(service.create(prompt=PROMPT, seed=5, steps=2)["id"])
    assert following["state"] == "succeeded"
    assert service.finished(job_id)["state"] == "cancelled"


def test_cancelling_twice_or_too_late_changes_nothing(service: ServiceClient) -> None:
    job = service.finished(service.create(prompt=PROMPT, seed=5, steps=2)["id"])
    answer = service.http.delete(f"/v1/jobs/{job['id']}")
    assert answer.status_code == 200
    assert answer.json()["state"] == "succeeded"


async def test_a_stage_with_damaged_weights_never_becomes_ready_and_says_why(
    running: Running, settings: Settings, tmp_path: Path
) -> None:
    model = tmp_path / "damaged"
    shutil.copytree(DEMO_MODEL_DIR, model)
    weights = model / "decoder" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    damaged = settings.model_copy(update={"model": str(model)})
    deployment = ray_serve.deployment(
        StageDeployment,
        name="StageB",
        max_constructor_retry_count=1,
        ray_actor_options={"num_cpus": 0},
    ).bind(models_of(damaged)[0], "b", damaged)
    with pytest.raises(RuntimeError):
        await asyncio.to_thread(ray_serve.run, deployment, name="damaged", route_prefix="/damaged")
    reason = why_not_running("damaged")
    assert reason.startswith("StageB: ")
    assert "decoder cannot be loaded" in reason
    await asyncio.to_thread(ray_serve.delete, "damaged")
