"""The work of a job grows with what the stages compute."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cascade_core.request import GenerationRequest
from serve.workload import job_work, stage_work

MakeRequest = Callable[..., GenerationRequest]


def test_varying_is_less_work_than_generating(make_request: MakeRequest) -> None:
    generate = make_request()
    vary = make_request(kind="vary_details", latent_id="x")
    assert job_work(vary) == pytest.approx(job_work(generate) - stage_work("c", generate))


def test_work_grows_with_images_pixels_steps_and_guidance(make_request: MakeRequest) -> None:
    one = make_request(guidance_scale=1.0)
    assert job_work(make_request(guidance_scale=1.0, n=3)) == pytest.approx(3 * job_work(one))
    guided = make_request(guidance_scale=2.0)
    assert stage_work("c", guided) == 2 * stage_work("c", one)
    assert stage_work("b", guided) == stage_work("b", one)
    larger = make_request(guidance_scale=1.0, width=2 * one.width)
    assert job_work(larger) == pytest.approx(2 * job_work(one))
    longer = make_request(guidance_scale=1.0, steps=2 * one.steps)
    assert stage_work("c", longer) == 2 * stage_work("c", one)
