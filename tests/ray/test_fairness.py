"""On real Ray: a flood of one user holds up another by no more than one of its jobs."""

from __future__ import annotations

from tests.ray.client import ServiceClient

PROMPT = "a small blue square on the left on a yellow background"


def test_a_flooding_user_holds_up_another_by_at_most_one_of_its_jobs(
    service: ServiceClient,
) -> None:
    flood = [
        service.create(prompt=PROMPT, user="flooder", n=2, steps=10, decoder_steps=5)["id"]
        for _ in range(8)
    ]
    service.until(flood[0], "progress", "c")
    other = service.create(prompt=PROMPT, user="other", steps=10, decoder_steps=5)
    assert other["position"] <= 2
    finished = service.finished(other["id"])
    assert finished["state"] == "succeeded"
    ended_before = [
        job_id
        for job_id in flood
        if (job := service.job(job_id))["finished_at"]
        and finished["started_at"] > job["finished_at"] > other["created_at"]
    ]
    assert len(ended_before) <= 1
    for job_id in flood:
        assert service.finished(job_id)["state"] == "succeeded"
