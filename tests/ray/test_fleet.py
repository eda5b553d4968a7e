"""Jobs that are under way while replicas come, go and are replaced by those of a new release."""

from __future__ import annotations

from serve.settings import Settings
from tests.ray.client import ServiceClient, check_ended_well_and_once
from tests.ray.shared_cluster import SharedCluster

PROMPT = "a large white cross in the top left on a purple background"
SLOW = {"width": 384, "steps": 40, "decoder_steps": 40}


def start_jobs(service: ServiceClient, seeds: range) -> list[str]:
    """Start a job for each seed; returns when the first is in Stage C."""
    ids = [service.create(prompt=PROMPT, seed=seed, **SLOW)["id"] for seed in seeds]
    service.until(ids[0], "progress", "c")
    return ids


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
