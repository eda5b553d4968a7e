"""On real Ray: a flood of one user holds up another by less than two batches of pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client.samples import Sample

from cascade_core.checkpoints.checkpoint import ModelSource, open_checkpoint
from cascade_core.families.stable_cascade import STABLE_CASCADE
from serve.local.running import Running
from serve.telemetry.metric_definitions import QUEUE_CALLS
from tests.metrics import wait_for_samples
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

    def are_so_many(samples: list[Sample]) -> bool:
        return any(one.labels["stage"] == stage and one.value >= calls for one in samples)

    wait_for_samples(running, QUEUE_CALLS.series, are_so_many)
