"""The first family: its stages are those that cascade_core.stages implements."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from cascade_core.families.spec import StageSpec
from cascade_core.families.stable_cascade import STABLE_CASCADE, STAGE_A, STAGE_B, STAGE_C
from cascade_core.request import GenerationRequest

MakeRequest = Callable[..., GenerationRequest]
stages = pytest.mark.parametrize("stage", STABLE_CASCADE.stages, ids=STABLE_CASCADE.names)


def make_request(**changes: object) -> GenerationRequest:
    values = {"prompt": "x", "width": 512, "height": 256, "seed": 1, "decoder_seed": 2}
    return GenerationRequest.from_dict(values | changes)


@stages
def test_a_stage_names_its_own_model_and_hand_off(stage: StageSpec) -> None:
    assert stage.model_class().name == stage.name
    if stage.output:
        assert callable(stage.output_class().decode)


@stages
def test_a_stage_loads_parts_that_a_checkpoint_has(stage: StageSpec) -> None:
    assert set(stage.components) <= set(STABLE_CASCADE.folders)


def test_the_bars_of_all_stages_make_a_whole() -> None:
    assert math.isclose(sum(stage.share for stage in STABLE_CASCADE.stages), 1.0)
    assert sum(stage.gpu_share for stage in STABLE_CASCADE.stages) <= 1.0


def test_the_latent_of_stage_c_is_kept() -> None:
    assert STABLE_CASCADE.kept is STAGE_C


def test_varying_is_less_work_than_generating() -> None:
    generate, vary = make_request(), make_request(kind="vary_details", latent_id="x")
    expected = STABLE_CASCADE.work(generate) - STAGE_C.work(generate)
    assert STABLE_CASCADE.work(vary) == pytest.approx(expected)


def test_work_grows_with_images_pixels_steps_and_guidance() -> None:
    one, work = make_request(guidance_scale=1.0), STABLE_CASCADE.work
    assert work(make_request(guidance_scale=1.0, n=3)) == pytest.approx(3 * work(one))
    guided = make_request(guidance_scale=2.0)
    assert STAGE_C.work(guided) == 2 * STAGE_C.work(one)
    assert STAGE_B.work(guided) == STAGE_B.work(one)
    larger = make_request(guidance_scale=1.0, width=2 * one.width)
    assert work(larger) == pytest.approx(2 * work(one))
    longer = make_request(guidance_scale=1.0, steps=2 * one.steps)
    assert STAGE_C.work(longer) == 2 * STAGE_C.work(one)


def test_steps_are_those_of_the_request() -> None:
    request = make_request(steps=7, decoder_steps=3)
    assert [stage.steps(request) for stage in (STAGE_C, STAGE_B, STAGE_A)] == [7, 3, 1]


@pytest.mark.parametrize(("strength", "steps"), [(1.0, 20), (0.7, 14), (0.33, 7), (0.01, 1)])
def test_a_variation_costs_the_steps_of_stage_c_that_run(strength: float, steps: int) -> None:
    generate = make_request(steps=20)
    vary = make_request(steps=20, kind="vary", latent_id="x", strength=strength)
    assert STAGE_C.steps(vary) == steps
    assert STAGE_C.work(vary) == pytest.approx(STAGE_C.work(generate) * steps / 20)
    others = STABLE_CASCADE.work(generate) - STAGE_C.work(generate)
    assert STABLE_CASCADE.work(vary) - STAGE_C.work(vary) == pytest.approx(others)


def test_a_latent_that_stays_as_it_is_runs_no_step_and_is_charged_for_one() -> None:
    vary = make_request(steps=20, kind="vary", latent_id="x", strength=0)
    assert STAGE_C.steps(vary) == 0
    assert STAGE_C.work(vary) == pytest.approx(STAGE_C.work(make_request(steps=1)))


def test_a_larger_decoding_costs_its_pixels_at_the_stages_that_run() -> None:
    details = make_request(kind="vary_details", latent_id="x")
    larger = make_request(kind="decode", latent_id="x", width=1024, height=512)
    assert STABLE_CASCADE.work(larger) == pytest.approx(4 * STABLE_CASCADE.work(details))
