"""Jobs that are under way while replicas come, go and are replaced by those of a new release."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from ray import serve as ray_serve

from serve.app import AppArgs, DeploymentArgs
from serve.fleet import application_status
from serve.local.running import Running
from serve.settings import Settings
from tests.ray.client import ServiceClient, check_ended_well_and_once
from tests.ray.deploying import GatewayWithoutPolling
from tests.ray.shared_cluster import SharedCluster

PROMPT = "a large white cross in the top left on a purple background"
SLOW = {"width": 384, "steps": 40, "decoder_steps": 40}


def start_jobs(service: ServiceClient, seeds: range) -> list[str]:
    """Start a job for each seed; returns when the first is in Stage C."""
    ids = [service.create(prompt=PROMPT, seed=seed, **SLOW)["id"] for seed in seeds]
    service.until(ids[0], "progress", "c")
    return ids


def test_the_status_that_the_service_reads_is_the_one_that_serve_tells(running: Running) -> None:
    applications = ray_serve.status().applications
    assert applications
    assert {name: application_status(name) for name in applications} == applications


def test_a_rolling_update_and_a_change_of_the_number_of_jobs_replicas_lose_no_job(
    cluster: SharedCluster, service: ServiceClient, settings: Settings
) -> None:
    under_way = start_jobs(service, range(3))
    cluster.deploy_file(settings, jobs_replicas=2)
    for job_id in under_way:
        check_ended_well_and_once(service, job_id)

    under_way = start_jobs(service, range(10, 14))
    cluster.deploy_file(settings, jobs_replicas=1)
    for job_id in under_way:
        check_ended_well_and_once(service, job_id)


def test_clients_of_every_gateway_are_told_at_once_what_happens_without_polling(
    cluster: SharedCluster,
    service: ServiceClient,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Polling alone would answer them after an hour."""
    monkeypatch.setattr("serve.app.Gateway", GatewayWithoutPolling)
    cluster.resize(settings, AppArgs(gateway=DeploymentArgs(num_replicas=2)))

    def wait(seed: int) -> str:
        body = {"prompt": PROMPT, "seed": seed, "steps": 4, "decoder_steps": 4}
        answer = service.http.post("/v1/jobs", json=body, headers={"prefer": "wait=100"})
        assert answer.status_code == 200
        return str(answer.json()["state"])

    with ThreadPoolExecutor(6) as clients:
        waiting = [clients.submit(wait, seed) for seed in range(20, 24)]
        job_ids = start_jobs(service, range(24, 26))
        followed = [clients.submit(service.finished, job_id) for job_id in job_ids]
        cancelled = service.create(prompt=PROMPT, seed=26, **SLOW)["id"]
        service.until(cancelled, "progress", "c")
        assert service.http.delete(f"/v1/jobs/{cancelled}").status_code == 200
        assert service.finished(cancelled)["state"] == "cancelled"
        assert [answer.result()["state"] for answer in followed] == ["succeeded"] * 2
        assert [answer.result() for answer in waiting] == ["succeeded"] * 4
