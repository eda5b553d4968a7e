"""On real Ray: a flood of one user holds up another by less than two batches of pictures."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prometheus_client.parser import text_string_to_metric_families

from cascade_core.checkpoints.checkpoint import ModelSource, open_checkpoint
from cascade_core.families.stable_cascade import STABLE_CASCADE
from serve.local.running import Running
from serve.telemetry.metric_definitions import QUEUE_CALLS
from tests.limits import HANG_S
from tests.ray.client import ServiceClient, replica_process

PROMPT = "a small blue square on the left on a yellow background"


FLOOD = 16


def test_a_flood_begins_fewer_than_two_batches_before_another_users_first_picture(
    service: ServiceClient, running: Running
) -> None:
    slots = STABLE_CASCADE.max_rows("cpu", open_checkpoint(ModelSource()).max_rows)["c"]
    with _stage_c_stopped():  # how far the flood has got when the other asks is thus no matter
        flood = [
            service.create(prompt=PROMPT, user="flooder", steps=20, decoder_steps=5)["id"]
            for _ in range(FLOOD)
        ]
        _wait_until_waiting(running, "c", FLOOD - slots)
        other = service.create(prompt=PROMPT, user="other", n=slots, steps=20, decoder_steps=5)
        assert other["position"] <= 1
        # The flood alone never lets so many wait: one of its pictures at least has a slot.
        _wait_until_waiting(running, "c", FLOOD)
    begun = {job_id: service.until(job_id, "progress", "c").id for job_id in (*flood, other["id"])}
    before_other = [job_id for job_id in flood if begun[job_id] < begun[other["id"]]]
    # Those that had their slots, and those that share the other's first step.
    assert len(before_other) <= 2 * slots - 1
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
    """Wait until so many calls or more wait in the queue of a stage, by the service's own metric.

    More wait if Jobs has not yet asked how many images the stage works on at a time, as it then
    lets one through at a time.
    """
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
        if waiting is not None and waiting >= calls:
            return
        threading.Event().wait(0.1)  # the service publishes it every few seconds
    raise AssertionError(f"{waiting} calls wait for stage {stage}, fewer than {calls}")
