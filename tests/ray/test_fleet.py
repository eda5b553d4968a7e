"""Jobs that are under way while replicas come, go and are replaced by those of a new release."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from serve.local import Running
from serve.settings import Settings
from tests.ray.client import TERMINAL, ServiceClient
from tests.ray.deploying import deploy, deploy_config

PROMPT = "a large white cross in the top left on a purple background"
SLOW = {"width": 384, "steps": 40, "decoder_steps": 40}


@pytest.fixture
def as_usual_afterwards(running: Running, settings: Settings) -> Iterator[None]:
    yield
    deploy(settings)


def start_jobs(service: ServiceClient, seeds: range) -> list[str]:
    """Start a job for each seed; returns when the first is in Stage C."""
    ids = [service.create(prompt=PROMPT, seed=seed, **SLOW)["id"] for seed in seeds]
    service.until(ids[0], "progress", "c")
    return ids


def check_ended_well_and_once(service: ServiceClient, job_id: str) -> None:
    job = follow_through_restarts(service, job_id)
    assert job["state"] == "succeeded", job["error"]
    events = list(service.events(job_id))
    stages = [event.data["stage"] for event in events if event.type == "progress"]
    assert "c" not in stages[stages.index("b") :]
    assert [event.type for event in events if event.type in TERMINAL] == ["succeeded"]


def follow_through_restarts(service: ServiceClient, job_id: str) -> dict[str, object]:
    while True:
        try:
            return service.finished(job_id)
        except (AssertionError, httpx.HTTPError):  # the replica with our stream went away
            service.wait_until_ready()


@pytest.mark.usefixtures("as_usual_afterwards")
def test_a_rolling_update_and_a_change_of_the_number_of_jobs_replicas_lose_no_job(
    service: ServiceClient, settings: Settings
) -> None:
    under_way = start_jobs(service, range(3))
    deploy_config(settings, jobs_replicas=2)
    for job_id in under_way:
        check_ended_well_and_once(service, job_id)

    under_way = start_jobs(service, range(10, 14))
    deploy_config(settings, jobs_replicas=1)
    for job_id in under_way:
        check_ended_well_and_once(service, job_id)
