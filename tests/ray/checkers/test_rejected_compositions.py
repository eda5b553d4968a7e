"""A checker that has compositions made anew, on real Ray."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from serve.settings import Settings
from tests.limits import HANG_S
from tests.ray.client import TERMINAL, ServiceClient, replica_process
from tests.serve.checkers import REJECTED_SEED

SEED = REJECTED_SEED - 1
REQUEST: dict[str, Any] = {"prompt": "a dot", "seed": SEED, "n": 3, "steps": 20}
SEEDS = [SEED, REJECTED_SEED + 3, SEED + 2]
REJECTED = [{"index": 1, "rule": "unlucky", "seed": REJECTED_SEED, "decoder_seed": REJECTED_SEED}]


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    """Settings that name a checker."""
    return settings.model_copy(update={"checker": "tests.serve.checkers:rejecting"})


@pytest.mark.parametrize("victim", ["Jobs", "StageC", None])
def test_a_rejected_image_is_composed_anew_once_whatever_process_is_killed(
    service: ServiceClient, victim: str | None
) -> None:
    job_id = service.create(**REQUEST)["id"]
    service.until(job_id, "rejected")
    if victim is not None:
        process = replica_process(victim)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=HANG_S)
        service.wait_until_ready()
    job = service.finished(job_id)
    assert job["state"] == "succeeded", job["error"]
    assert [image["seed"] for image in job["images"]] == SEEDS
    assert job["rejected"] == REJECTED
    types = [event.type for event in service.events(job_id)]
    assert (types.count("rejected"), TERMINAL.intersection(types)) == (1, {"succeeded"})


def test_a_draft_waits_with_the_compositions_that_passed(service: ServiceClient) -> None:
    job_id = service.create(**REQUEST, stop_after="c")["id"]
    job = service.until(job_id, "waiting").data["job"]
    assert [one["seed"] for one in job["compositions"]] == SEEDS
    assert all(one["preview_url"] for one in job["compositions"])
    assert (job["rejected"], job["cost"]["b_s"]) == (REJECTED, 0)
