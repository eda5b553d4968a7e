"""Rows of one stage do not disturb each other, and a row that fails is as it was before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from cascade_core.errors import (
    HandoffInvalid,
    ModelMismatch,
    NonFiniteLatent,
    OutOfMemory,
    Unsupported,
)
from cascade_core.handoff import ModelRef
from cascade_core.pipeline import CascadePipeline
from cascade_core.request import GenerationRequest
from cascade_core.stages.modular.previews import predicted
from cascade_core.tensor_handoff import NamedTensors
from tests.cascade_core.modular.requests import GUIDED, TWO_STAGES, request, varied
from tests.cascade_core.modular.tiny_models import VARIANTS

Pipelines = Callable[[str], CascadePipeline]
REQUESTS = (
    request(),
    request(seed=4, steps=2, guidance_scale=1.0, prompt="a blue square"),
    request(seed=5, steps=4, guidance_scale=6.0, negative_prompt="a red circle"),
)


def same(one: NamedTensors, other: NamedTensors) -> bool:
    assert one.tensors.keys() == other.tensors.keys()
    return all(
        np.array_equal(tensor.array, other.tensors[name].array)
        for name, tensor in one.tensors.items()
    )


def alone(stage: Any, wanted: GenerationRequest, source: Any = None) -> NamedTensors:
    row = stage.admit(stage.make_task(source, wanted))
    while row.step < row.steps:
        stage.advance([row])
    latent: NamedTensors = stage.result(row)
    return latent


def together(stage: Any, tasks: list[Any]) -> list[NamedTensors]:
    rows = [stage.admit(task) for task in tasks]
    while any(row.step < row.steps for row in rows):
        stage.advance([row for row in rows if row.step < row.steps])
    return [stage.result(row) for row in rows]


@pytest.mark.parametrize("family", [*TWO_STAGES, *VARIANTS])
def test_rows_that_take_turns_end_as_they_do_alone(pipeline_of: Pipelines, family: str) -> None:
    stage: Any = pipeline_of(family).stages["d"]
    kept = alone(stage, REQUESTS[0])
    tasks = [stage.make_task(None, wanted) for wanted in REQUESTS]
    made = together(stage, [*tasks, stage.make_task(kept, varied(steps=4))])
    expected = [alone(stage, wanted) for wanted in REQUESTS]

    assert all(map(same, made, [*expected, alone(stage, varied(steps=4), kept)]))
    assert not any(same(kept, other) for other in made[1:])


def test_refined_rows_that_take_turns_end_as_they_do_alone(pipeline_of: Pipelines) -> None:
    stages = pipeline_of("sdxl_refiner").stages
    base, refiner = (alone(stages["d"], wanted) for wanted in REQUESTS[:2]), stages["r"]
    tasks = [
        refiner.make_task(latent, replace(latent.request, decoder_seed=seed, decoder_steps=seed))
        for latent, seed in zip(base, (2, 4), strict=True)
    ]
    made = together(refiner, tasks)

    expected = [alone(refiner, task.request, task.latent) for task in tasks]
    assert all(map(same, made, expected))


def test_details_of_a_refiner_depend_on_their_own_seed_alone(pipeline_of: Pipelines) -> None:
    stages = pipeline_of("sdxl_refiner").stages
    latent = alone(stages["d"], request())
    again = request(kind="vary_details", latent_id="01J", decoder_seed=8, decoder_steps=2)
    made = alone(stages["r"], again, latent)

    assert same(made, alone(stages["r"], replace(again, seed=77), latent))
    assert not same(made, alone(stages["r"], replace(again, decoder_seed=9), latent))


@pytest.mark.parametrize("family", [*VARIANTS, "flux2_klein"])
def test_a_step_that_fails_changes_no_row(
    pipeline_of: Pipelines, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage: Any = pipeline_of(family).stages["d"]
    rows = [stage.admit(stage.make_task(None, request(seed=seed))) for seed in (3, 4)]
    stage.advance(rows)
    loop = stage._loop._division.loop
    real, calls = loop.loop_step, []

    def step_then_fail(*args: Any, **kwargs: Any) -> Any:
        done = real(*args, **kwargs)
        calls.append(done)
        if len(calls) == 2:
            raise OutOfMemory("no memory for the second row")
        return done

    monkeypatch.setattr(loop, "loop_step", step_then_fail)
    with pytest.raises(OutOfMemory):
        stage.advance(rows)
    monkeypatch.undo()

    assert [row.step for row in rows] == [1, 1]
    while rows[0].step < rows[0].steps:
        stage.advance(rows)
    assert all(
        same(stage.result(row), alone(stage, request(seed=seed)))
        for row, seed in zip(rows, (3, 4), strict=True)
    )


@pytest.mark.parametrize("family", TWO_STAGES)
def test_a_latent_that_keeps_all_of_itself_takes_no_step(
    pipeline_of: Pipelines, family: str
) -> None:
    stage: Any = pipeline_of(family).stages["d"]
    kept = alone(stage, request(steps=2))
    wanted = varied(strength=0.0)
    row = stage.admit(stage.make_task(kept, wanted))

    assert (row.step, row.steps, stage.preview(row)) == (0, 0, None)
    result = stage.result(row)
    assert same(result, kept)
    assert result.request == wanted


@pytest.mark.parametrize("family", GUIDED)
def test_a_latent_that_keeps_nothing_of_itself_leaves_noise_alone(
    pipeline_of: Pipelines, family: str
) -> None:
    stage: Any = pipeline_of(family).stages["d"]
    kept = alone(stage, request(seed=8, steps=2))

    assert same(alone(stage, varied(strength=1.0), kept), alone(stage, request()))


def test_a_weak_variation_stays_nearer_than_a_strong_one(pipeline_of: Pipelines) -> None:
    for family in TWO_STAGES:
        stage: Any = pipeline_of(family).stages["d"]
        kept = alone(stage, request())
        far = [
            np.abs(
                alone(stage, varied(seed=9, steps=6, strength=strength), kept)
                .tensor("latents")
                .array
                - kept.tensor("latents").array
            ).mean()
            for strength in (0.2, 0.9)
        ]
        assert far[0] < far[1], family


@pytest.mark.parametrize("family", TWO_STAGES)
def test_previews_show_what_is_predicted_and_end_with_the_latents(
    pipeline_of: Pipelines, family: str
) -> None:
    stage: Any = pipeline_of(family).stages["d"]
    row = stage.admit(stage.make_task(None, request()))
    seen = []
    while row.step < row.steps:
        stage.advance([row])
        seen.append(stage.preview(row))

    assert [picture.shape for picture in seen] == [(192, 192, 3)] * 3
    assert not np.array_equal(seen[0], seen[-1])
    # The last sigma of Qwen-Image's schedule is 0, too: nothing is left to take off.
    assert torch.equal(predicted(row), row.loop_state.latents)


def test_a_stage_without_previews_draws_none(pipeline_of: Pipelines) -> None:
    stage: Any = pipeline_of("sdxl").stages["d"]
    bare = type(stage)(stage._model, stage._loop, stage._device)

    assert bare.preview(bare.small_row()) is None


def test_latents_of_other_weights_or_stages_are_refused(pipeline_of: Pipelines) -> None:
    stages = pipeline_of("sdxl_refiner").stages
    latent = alone(stages["d"], request(steps=2))
    strange = replace(latent, model=ModelRef("other", "1", "0" * 64))
    for name, wanted in (("d", varied()), ("r", request()), ("a", request())):
        with pytest.raises(ModelMismatch, match="made by other 1"):
            stages[name].admit(stages[name].make_task(strange, wanted))
    with pytest.raises(HandoffInvalid, match="stage d, not r"):
        stages["a"].admit(latent)
    with pytest.raises(HandoffInvalid, match="256x256"):
        stages["d"].admit(stages["d"].make_task(latent, varied(width=384)))
    bare = replace(latent, made_by="r", tensors={"noise": latent.tensor("latents")})
    with pytest.raises(HandoffInvalid, match="no latents"):
        stages["a"].admit(bare)


def test_requests_and_latents_must_go_together(pipeline_of: Pipelines) -> None:
    stage = pipeline_of("sdxl").stages["d"]
    latent = alone(stage, request(steps=2))
    for source, wanted in ((None, varied()), (latent, request())):
        with pytest.raises(Unsupported):
            stage.admit(stage.make_task(source, wanted))
    with pytest.raises(Unsupported, match="one image at a time"):
        stage.admit(stage.make_task(None, request(n=2)))


def test_a_scheduler_that_needs_more_steps_says_so(pipeline_of: Pipelines) -> None:
    stage = pipeline_of("qwen_image").stages["d"]
    with pytest.raises(Unsupported, match="more than one step") as caught:
        stage.admit(stage.make_task(None, request(steps=1)))
    assert caught.value.field == "steps"


def test_latents_that_are_not_finite_are_an_error(pipeline_of: Pipelines) -> None:
    stage: Any = pipeline_of("z_image").stages["d"]
    row = stage.admit(stage.make_task(None, request(steps=2)))
    stage.advance([row])
    row.loop_state.latents = torch.full_like(row.loop_state.latents, torch.nan)
    stage.advance([row])

    with pytest.raises(NonFiniteLatent, match="Stage D"):
        stage.result(row)


@pytest.mark.parametrize("family", [*TWO_STAGES, "sdxl_refiner"])
def test_every_stage_warms_up(pipeline_of: Pipelines, family: str) -> None:
    for stage in pipeline_of(family).stages.values():
        assert stage.warm_up() is None


def test_a_finished_latent_is_drawn_small(
    pipeline_of: Pipelines, checkpoint_of: Callable[[str], Any]
) -> None:
    for family in ("sdxl_refiner", "flux2_klein"):
        stage: Any = pipeline_of(family).stages["d"]
        draw = stage.load_output_drawer(checkpoint_of(family), "cpu")
        assert draw(alone(stage, request(steps=2))).shape == (192, 192, 3)


def test_prompts_that_clip_cuts_off_are_warned_of(
    pipeline_of: Pipelines, checkpoint_of: Callable[[str], Any]
) -> None:
    long = request(prompt="circle " * 60)
    for family, names in (("sdxl", "d"), ("sdxl_refiner", "dr")):
        for name in names:
            warn = pipeline_of(family).stages[name].load_warnings(checkpoint_of(family))
            assert warn(request(), None) == []
            assert warn(long, None) == ["only the first 38 tokens of the prompt are used"]
    whole = pipeline_of("z_image").stages["d"].load_warnings(checkpoint_of("z_image"))
    assert whole(long, None) == []
