"""On real Ray: a flood of one user holds up another by no more than one of its jobs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prometheus_client.parser import text_string_to_metric_families

from serve.local.cluster import Running
from serve.telemetry.metric_definitions import QUEUE_CALLS
from tests.limits import HANG_S
from tests.ray.client import ServiceClient, replica_process

PROMPT = "a small blue square on the left on a yellow background"


def test_a_flooding_user_holds_up_another_by_at_most_one_of_its_jobs(
    service: ServiceClient, running: Running
) -> None:
    with _stage_c_stopped():  # how far the flood has got when the other asks is thus no matter
        flood = [
            service.create(prompt=PROMPT, user="flooder", n=2, steps=10, decoder_steps=5)["id"]
            for _ in range(8)
        ]
        _wait_until_waiting(running, "c", 15)  # one of the sixteen pictures has its slot
        other = service.create(prompt=PROMPT, user="other", steps=10, decoder_steps=5)
        assert other["position"] <= 1
        _wait_until_waiting(running, "c", 16)
    begun = {job_id: service.until(job_id, "progress", "c").id for job_id in (*flood, other["id"])}
    before_other = [job_id for job_id in flood if begun[job_id] < begun[other["id"]]]
    assert len(before_other) <= 1
    for job_id in begun:
        assert service.finished(job_id)["state"] == "succeeded"


@contextmanager
def _stage_c_stopped() -> Iterator[None]:
    process = replica_process("StageC")
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def _wait_until_waiting(running: Running, stage: str, calls: int) -> None:
    """Wait until this many calls wait in the queue of a stage, by the service's own metric."""
    waiting = None
    for _ in range(1200):
        families = text_string_to_metric_families(
            httpx.get(running.metrics_url, timeout=HANG_S).text
        )
        waiting = {
            sample.labels["stage"]: sample.value
            for family in families
            for sample in family.samples
            if sample.name == QUEUE_CALLS.series[0]
        }.get(stage)
        if waiting == calls:
            return
        threading.Event().wait(0.1)  # the service publishes it every few seconds
    raise AssertionError(f"{waiting} calls wait for stage {stage}, not {calls}")
