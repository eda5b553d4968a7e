"""The denoising stage of a flow model, and the family that it makes with Stage A."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from cascade_core.checkpoints.checkpoint import Checkpoint, ModelSource, open_checkpoint
from cascade_core.checkpoints.weights import Placement
from cascade_core.engine.engine import StepEngine
from cascade_core.engine.events import Event, Finished, Stepped
from cascade_core.errors import HandoffInvalid, ModelMismatch, Unsupported, WireError
from cascade_core.families.flow import DECODING, DENOISING, FLOW
from cascade_core.handoff import FlowLatent, ModelRef, StageBLatent
from cascade_core.pipeline import CascadePipeline
from cascade_core.request import GenerationRequest
from cascade_core.stages.flow import FlowStage, FlowTask
from cascade_core.stages.tensors import to_handoff
from tests.cascade_core.test_parity_batches import largest_difference, run_alone, run_staggered
from tests.cascade_core.toy_stage import Listener
from tests.flow_model import write_flow_model

TOLERANCE = 1e-5
REQUEST = GenerationRequest(
    prompt="a red star",
    width=256,
    height=256,
    seed=1,
    decoder_seed=1,
    steps=6,
    guidance_scale=2.0,
)
MIXED = (
    REQUEST,
    replace(REQUEST, prompt="a blue ring", steps=3, guidance_scale=0.0, seed=2),
    replace(REQUEST, negative_prompt="dots", steps=9, guidance_scale=5.3, seed=3),
    replace(REQUEST, prompt="", steps=1, guidance_scale=1.0, seed=4),
)


def vary(strength: float, **changes: Any) -> GenerationRequest:
    own = {"kind": "vary", "latent_id": "x", "strength": strength, "seed": 9}
    return replace(REQUEST, **(own | changes))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = write_flow_model(tmp_path_factory.mktemp("flow") / "model")
    return open_checkpoint(ModelSource(model=str(folder)))


@pytest.fixture(scope="module")
def pipeline(checkpoint: Checkpoint) -> CascadePipeline:
    return CascadePipeline.load(checkpoint, Placement("cpu"), FLOW)


@pytest.fixture(scope="module")
def stage(pipeline: CascadePipeline) -> FlowStage:
    found = pipeline.stages[DENOISING.name]
    assert isinstance(found, FlowStage)
    return found


@pytest.fixture(scope="module")
def latent(stage: FlowStage) -> FlowLatent:
    made: FlowLatent = run_alone(stage, FlowTask(REQUEST))
    return made


def test_rows_that_mix_steps_guidance_and_starts_do_not_depend_on_their_neighbours(
    stage: FlowStage, latent: FlowLatent
) -> None:
    tasks = [*map(FlowTask, MIXED), FlowTask(vary(0.5), latent)]
    together = run_staggered(stage, tasks)
    for task, made in zip(tasks, together, strict=True):
        assert made.request == task.request
        assert largest_difference(made, run_alone(stage, task)) < TOLERANCE


def test_a_latent_that_travelled_as_bytes_decodes_to_the_same_pixels(
    pipeline: CascadePipeline, latent: FlowLatent
) -> None:
    stage_a = pipeline.stages[DECODING.name]
    travelled = FlowLatent.decode(latent.encode())
    assert travelled.request == latent.request
    assert travelled.model == latent.model
    pixels = run_alone(stage_a, stage_a.make_task(travelled, REQUEST))
    assert (pixels.shape, pixels.dtype) == ((256, 256, 3), np.uint8)
    assert np.array_equal(pixels, pipeline.run(REQUEST).pixels_hwc)


def test_seeds_prompts_and_guidance_change_the_latent_and_repeat_it_exactly(
    stage: FlowStage, latent: FlowLatent
) -> None:
    again = run_alone(stage, FlowTask(REQUEST))
    assert np.array_equal(again.latents_chw.array, latent.latents_chw.array)
    for change in ({"seed": 5}, {"prompt": "a blue ring"}, {"guidance_scale": 3.0}):
        other = run_alone(stage, FlowTask(replace(REQUEST, **change)))
        assert largest_difference(other, latent) > 1e-3, change


def test_vary_at_full_strength_is_a_new_picture_and_at_none_the_latent_itself(
    stage: FlowStage, latent: FlowLatent
) -> None:
    whole = run_alone(stage, FlowTask(vary(1.0), latent))
    new = run_alone(stage, FlowTask(replace(REQUEST, seed=9)))
    none = run_alone(stage, FlowTask(vary(0.0), latent))
    assert np.array_equal(whole.latents_chw.array, new.latents_chw.array)
    assert np.array_equal(none.latents_chw.array, latent.latents_chw.array)


def test_a_varied_latent_starts_with_the_noise_of_its_shifted_time(
    stage: FlowStage, latent: FlowLatent
) -> None:
    row = stage.admit(FlowTask(vary(0.5), latent))
    noise = torch.randn(row.latents_bchw.shape, generator=torch.Generator().manual_seed(9))
    clean = torch.from_numpy(latent.latents_chw.array.copy())[None]
    # 0.5 shifted by 3 is 0.75; of six steps the half is left.
    assert row.steps == 3
    assert torch.allclose(row.latents_bchw, 0.25 * clean + 0.75 * noise, atol=1e-6)


def test_a_latent_of_another_model_is_refused(
    pipeline: CascadePipeline, stage: FlowStage, latent: FlowLatent
) -> None:
    foreign = replace(latent, model=ModelRef("other", "1", "ab" * 32))
    with pytest.raises(ModelMismatch, match="other"):
        stage.admit(FlowTask(vary(0.5), foreign))
    with pytest.raises(ModelMismatch, match="other"):
        pipeline.stages[DECODING.name].admit(foreign)


def test_a_latent_of_another_size_is_refused(stage: FlowStage, latent: FlowLatent) -> None:
    with pytest.raises(HandoffInvalid, match="256x256"):
        stage.admit(FlowTask(vary(0.5, width=384), latent))


@pytest.mark.parametrize("request_", [replace(REQUEST, n=2), vary(0.5)])
def test_several_images_and_a_vary_without_its_latent_are_refused(
    request_: GenerationRequest, stage: FlowStage
) -> None:
    with pytest.raises(Unsupported):
        stage.admit(FlowTask(request_))


def test_a_new_picture_takes_no_latent(stage: FlowStage, latent: FlowLatent) -> None:
    with pytest.raises(Unsupported):
        stage.admit(FlowTask(REQUEST, latent))


def test_a_latent_whose_shape_is_not_that_of_its_picture_is_refused(latent: FlowLatent) -> None:
    with pytest.raises(HandoffInvalid, match="flow latent of 256x256 px"):
        replace(latent, latents_chw=to_handoff(torch.zeros(4, 64, 96)))


def test_the_hand_offs_of_both_families_are_not_taken_for_each_other(latent: FlowLatent) -> None:
    with pytest.raises(WireError):
        StageBLatent.decode(latent.encode())


def test_a_cancelled_picture_takes_no_further_step_and_leaves_its_neighbour_as_it_was(
    stage: FlowStage,
) -> None:
    alone = run_alone(stage, FlowTask(REQUEST))
    engine: StepEngine[Any, Any, Any] = StepEngine(stage, 2)
    stopped, kept = Listener(), Listener()

    def stop(event: Event) -> None:
        stopped(event)
        if isinstance(event, Stepped):
            handle.cancel()

    handle = engine.submit(FlowTask(replace(REQUEST, steps=100, seed=7)), stop)
    engine.submit(FlowTask(REQUEST), kept)
    engine.start()
    try:
        assert stopped.error().code == "cancelled"
        assert sum(isinstance(event, Stepped) for event in stopped.events) == 1
        end = kept.end()
        assert isinstance(end, Finished)
        assert largest_difference(end.result, alone) < TOLERANCE
    finally:
        engine.close()


def test_previews_are_there_from_the_first_step_on(stage: FlowStage) -> None:
    row = stage.admit(FlowTask(REQUEST))
    assert stage.preview(row) is None
    stage.advance([row])
    preview = stage.preview(row)
    assert preview is not None
    assert preview.shape == (192, 192, 3)


def test_the_drawer_for_checkers_draws_what_the_last_preview_shows(
    stage: FlowStage, latent: FlowLatent, checkpoint: Checkpoint
) -> None:
    row = stage.admit(FlowTask(REQUEST))
    while row.step < row.steps:
        stage.advance([row])
    drawn = FlowStage.load_output_drawer(checkpoint, "cpu")(latent)
    preview = stage.preview(row)
    assert preview is not None
    assert np.abs(drawn.astype(int) - preview.astype(int)).max() <= 1


def test_warm_up_returns_a_task_of_one_guided_step(stage: FlowStage) -> None:
    task = stage.warm_up()
    row = stage.admit(task)
    assert row.steps == 1
    assert row.uncond is not None
    assert task.request.width == task.request.height == 256
