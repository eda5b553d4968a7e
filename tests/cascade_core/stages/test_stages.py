"""The three stages behind their common interface."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.checkpoints.weights import Placement, load_vqgan_decoder
from cascade_core.errors import (
    HandoffInvalid,
    ModelMismatch,
    ModelUnavailable,
    NonFiniteLatent,
    Unsupported,
)
from cascade_core.handoff import StageBLatent, StageCLatent
from cascade_core.pipeline import CascadePipeline
from cascade_core.request import GenerationRequest
from cascade_core.sampling.step_tables import CosineSchedule
from cascade_core.stages import previews
from cascade_core.stages.previews import LinearPreviewer, preview_of
from cascade_core.stages.stage_a import StageA
from cascade_core.stages.stage_b import StageB, StageBTask
from cascade_core.stages.stage_c import StageC, StageCTask
from cascade_core.stages.tensors import from_handoff, to_handoff
from tests.tiny_model import POOLED_CHANNELS

REQUEST = GenerationRequest(
    prompt="a red cat",
    width=384,
    height=256,
    seed=1,
    decoder_seed=2,
    steps=2,
    decoder_steps=2,
    guidance_scale=3.0,
)


def run(stage: Any, task: Any) -> Any:
    row = stage.admit(task)
    while row.step < row.steps:
        stage.advance([row])
    return stage.result(row)


@pytest.fixture(scope="module")
def latent(tiny_pipeline: CascadePipeline) -> StageCLatent:
    result: StageCLatent = run(tiny_pipeline.stages["c"], StageCTask(REQUEST))
    return result


@pytest.fixture(scope="module")
def b_latent(tiny_pipeline: CascadePipeline, latent: StageCLatent) -> StageBLatent:
    result: StageBLatent = run(tiny_pipeline.stages["b"], StageBTask(latent, REQUEST))
    return result


@contextmanager
def broken(parameter: torch.nn.Parameter) -> Iterator[None]:
    """Put NaN into a weight of a shared model, and take it out again."""
    before = parameter.data.clone()
    parameter.data.fill_(float("nan"))
    try:
        yield
    finally:
        parameter.data.copy_(before)


def test_stage_c_hands_over_what_stage_b_needs(
    latent: StageCLatent, tiny_checkpoint: Checkpoint
) -> None:
    assert latent.latents_chw.shape == (16, 6, 9)
    assert latent.pooled.shape == latent.negative_pooled.shape == (1, POOLED_CHANNELS)
    assert latent.request == REQUEST
    assert latent.geometry == tiny_checkpoint.geometry
    assert latent.model.fingerprint == tiny_checkpoint.fingerprint
    assert not np.array_equal(latent.pooled.array, latent.negative_pooled.array)


def test_the_negative_prompt_is_encoded_even_without_guidance(
    tiny_pipeline: CascadePipeline, latent: StageCLatent
) -> None:
    unguided = run(tiny_pipeline.stages["c"], StageCTask(replace(REQUEST, guidance_scale=0.0)))
    assert np.array_equal(unguided.negative_pooled.array, latent.negative_pooled.array)


def test_stage_b_goes_on_from_a_latent_that_travelled_as_bytes(
    tiny_pipeline: CascadePipeline, latent: StageCLatent, b_latent: StageBLatent
) -> None:
    travelled = StageCLatent.decode(latent.encode())
    again = run(tiny_pipeline.stages["b"], StageBTask(travelled, REQUEST))
    assert np.array_equal(again.latents_chw.array, b_latent.latents_chw.array)
    assert again.latents_chw.shape == (4, 64, 96)


def test_stage_a_turns_a_latent_that_travelled_as_bytes_into_pixels(
    tiny_pipeline: CascadePipeline, b_latent: StageBLatent
) -> None:
    pixels = run(tiny_pipeline.stages["a"], StageBLatent.decode(b_latent.encode()))
    assert (pixels.shape, pixels.dtype) == ((256, 384, 3), np.uint8)
    assert pixels.std() > 1


def test_rows_count_their_steps_and_tell_their_shape(tiny_pipeline: CascadePipeline) -> None:
    row = tiny_pipeline.stages["c"].admit(StageCTask(REQUEST))
    assert (row.step, row.steps, row.bucket) == (0, 2, (16, 6, 9))
    tiny_pipeline.stages["c"].advance([row])
    assert row.step == 1


def test_stage_a_rows_have_one_step(tiny_pipeline: CascadePipeline, b_latent: StageBLatent) -> None:
    row = tiny_pipeline.stages["a"].admit(b_latent)
    assert (row.step, row.steps, row.bucket) == (0, 1, (4, 64, 96))
    tiny_pipeline.stages["a"].advance([row])
    assert row.step == 1
    assert tiny_pipeline.stages["a"].preview(row) is None


@pytest.mark.parametrize(
    "request_", [replace(REQUEST, n=2), replace(REQUEST, kind="vary_details", latent_id="x")]
)
def test_stage_c_takes_new_single_images_only(
    request_: GenerationRequest, tiny_pipeline: CascadePipeline
) -> None:
    with pytest.raises(Unsupported):
        tiny_pipeline.stages["c"].admit(StageCTask(request_))


def test_latents_of_other_weights_are_refused(
    tiny_pipeline: CascadePipeline, latent: StageCLatent, b_latent: StageBLatent
) -> None:
    other = replace(latent.model, id="other", revision="r2", fingerprint="f")
    with pytest.raises(ModelMismatch, match="made by other r2, the loaded model is tiny"):
        tiny_pipeline.stages["b"].admit(StageBTask(replace(latent, model=other), REQUEST))
    with pytest.raises(ModelMismatch, match="made by other r2, the loaded model is tiny"):
        tiny_pipeline.stages["a"].admit(replace(b_latent, model=other))


def test_a_renamed_model_with_the_same_weights_is_accepted(
    tiny_pipeline: CascadePipeline, latent: StageCLatent
) -> None:
    renamed = replace(latent, model=replace(latent.model, id="renamed"))
    assert tiny_pipeline.stages["b"].admit(StageBTask(renamed, REQUEST)).request == REQUEST


def test_a_request_of_another_size_is_refused(
    tiny_pipeline: CascadePipeline, latent: StageCLatent
) -> None:
    with pytest.raises(HandoffInvalid, match="the latent is for 384x256 px"):
        tiny_pipeline.stages["b"].admit(StageBTask(latent, replace(REQUEST, width=256)))


def test_latents_with_other_channels_are_refused(
    tiny_pipeline: CascadePipeline, latent: StageCLatent, b_latent: StageBLatent
) -> None:
    thin = replace(latent, latents_chw=to_handoff(torch.zeros(8, 6, 9)))
    with pytest.raises(HandoffInvalid, match="channels"):
        tiny_pipeline.stages["b"].admit(StageBTask(thin, REQUEST))
    thin_b = replace(b_latent, latents_chw=to_handoff(torch.zeros(3, 64, 96)))
    with pytest.raises(HandoffInvalid, match="channels"):
        tiny_pipeline.stages["a"].admit(thin_b)


def test_nan_is_an_error_and_never_a_picture(
    tiny_pipeline: CascadePipeline, latent: StageCLatent, b_latent: StageBLatent
) -> None:
    stages = tiny_pipeline.stages
    with broken(stages["c"]._unet.clf[1].bias), pytest.raises(NonFiniteLatent, match="Stage C"):
        run(stages["c"], StageCTask(REQUEST))
    with broken(stages["b"]._unet.clf[1].bias), pytest.raises(NonFiniteLatent, match="Stage B"):
        run(stages["b"], StageBTask(latent, REQUEST))
    with (
        broken(stages["a"]._model.out_block[0].bias),
        pytest.raises(NonFiniteLatent, match="Stage A"),
    ):
        run(stages["a"], b_latent)


def test_previews_show_what_the_last_step_predicts(
    tiny_checkpoint: Checkpoint, tiny_pipeline: CascadePipeline, latent: StageCLatent
) -> None:
    stage_c = tiny_pipeline.stages["c"]
    previewing = StageC(
        tiny_checkpoint,
        stage_c._unet,
        stage_c._text,
        CosineSchedule(),
        LinearPreviewer(torch.rand(3, 16) / 500, torch.full((3,), 0.5)),
    )
    row = previewing.admit(StageCTask(REQUEST))
    assert previewing.preview(row) is None
    pictures = []
    while row.step < row.steps:
        previewing.advance([row])
        pictures.append(previewing.preview(row))
    assert [picture.shape for picture in pictures if picture is not None] == [(128, 192, 3)] * 2
    assert not np.array_equal(pictures[0], pictures[1])
    assert np.array_equal(previewing.result(row).latents_chw.array, latent.latents_chw.array)


def test_stage_c_without_a_previewer_has_no_previews(tiny_pipeline: CascadePipeline) -> None:
    row = tiny_pipeline.stages["c"].admit(StageCTask(REQUEST))
    tiny_pipeline.stages["c"].advance([row])
    assert tiny_pipeline.stages["c"].preview(row) is None


@pytest.mark.parametrize(("width", "height"), [(256, 256), (384, 256), (256, 640)])
def test_every_preview_of_an_image_has_one_size_and_the_aspect_of_the_image(
    tiny_checkpoint: Checkpoint, tiny_pipeline: CascadePipeline, width: int, height: int
) -> None:
    request = replace(REQUEST, width=width, height=height)
    stages = tiny_pipeline.stages
    painter = LinearPreviewer(torch.rand(3, 16), torch.zeros(3))
    stage_c = StageC(
        tiny_checkpoint,
        stages["c"]._unet,
        stages["c"]._text,
        CosineSchedule(),
        painter,
    )
    c_row = stage_c.admit(StageCTask(request))
    stage_c.advance([c_row])
    latent = run(stage_c, StageCTask(request))
    b_row = stages["b"].admit(StageBTask(latent, request))
    assert stages["b"].preview(b_row) is None
    stages["b"].advance([b_row])
    shown = [
        stage_c.preview(c_row),
        preview_of(latent, painter, torch.device("cpu")),
        stages["b"].preview(b_row),
    ]
    scale = 192 / max(width, height)
    expected = (round(height * scale), round(width * scale), 3)
    assert [one.shape for one in shown if one is not None] == [expected] * 3
    assert all(one.dtype == np.uint8 for one in shown if one is not None)


def test_a_preview_of_nan_is_a_picture_and_no_error(
    tiny_pipeline: CascadePipeline, latent: StageCLatent
) -> None:
    row = tiny_pipeline.stages["b"].admit(StageBTask(latent, REQUEST))
    with broken(tiny_pipeline.stages["b"]._unet.clf[1].bias):
        tiny_pipeline.stages["b"].advance([row])
    assert tiny_pipeline.stages["b"].preview(row) is not None


def loaded_stage_b(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, *, with_previews: bool
) -> tuple[StageB, list[weakref.ref[Any]]]:
    """Return the stage, and a reference to every Stage A that was loaded for it."""
    loaded: list[weakref.ref[Any]] = []

    def load(*args: Any) -> Any:
        stage_a = load_vqgan_decoder(*args)
        loaded.append(weakref.ref(stage_a))
        return stage_a

    monkeypatch.setattr(previews, "load_vqgan_decoder", load)
    return StageB.load(checkpoint, Placement("cpu"), with_previews=with_previews), loaded


def test_stage_b_without_previews_loads_no_stage_a(
    tiny_checkpoint: Checkpoint, latent: StageCLatent, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, loaded = loaded_stage_b(tiny_checkpoint, monkeypatch, with_previews=False)
    row = stage.admit(StageBTask(latent, REQUEST))
    stage.advance([row])
    assert stage.preview(row) is None
    assert not loaded


def test_stage_b_with_previews_keeps_no_stage_a(
    tiny_checkpoint: Checkpoint, latent: StageCLatent, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, loaded = loaded_stage_b(tiny_checkpoint, monkeypatch, with_previews=True)
    gc.collect()
    assert [reference() for reference in loaded] == [None]
    row = stage.admit(StageBTask(latent, REQUEST))
    stage.advance([row])
    assert stage.preview(row) is not None


def test_a_decoder_that_takes_no_composition_is_refused(
    tiny_checkpoint: Checkpoint, tiny_pipeline: CascadePipeline
) -> None:
    prior = tiny_pipeline.stages["c"]._unet
    with pytest.raises(ModelUnavailable, match="the decoder of tiny takes no Stage C latent"):
        StageB(tiny_checkpoint, prior, CosineSchedule(), None)


def test_every_stage_warms_up_and_has_its_name(tiny_pipeline: CascadePipeline) -> None:
    stages: tuple[StageC | StageB | StageA, ...] = (
        tiny_pipeline.stages["c"],
        tiny_pipeline.stages["b"],
        tiny_pipeline.stages["a"],
    )
    assert [stage.name for stage in stages] == ["c", "b", "a"]
    for stage in stages:
        stage.warm_up()


def test_a_stage_loaded_in_one_thread_runs_in_another(
    tiny_pipeline: CascadePipeline, latent: StageCLatent
) -> None:
    found: list[StageCLatent] = []
    thread = threading.Thread(
        target=lambda: found.append(run(tiny_pipeline.stages["c"], StageCTask(REQUEST)))
    )
    thread.start()
    thread.join()
    assert np.array_equal(found[0].latents_chw.array, latent.latents_chw.array)


def test_stage_b_takes_latents_of_another_dtype(
    tiny_checkpoint: Checkpoint, latent: StageCLatent
) -> None:
    """Stage C in float32 and B in float16 is a valid pair."""
    stage = StageB.load(tiny_checkpoint, Placement("cpu", "float16"), with_previews=False)
    row = stage.admit(StageBTask(latent, REQUEST))
    assert {row.latents_bchw.dtype, row.cond.context.dtype} == {torch.float16}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_tensors_survive_the_hand_off_bit_for_bit(dtype: torch.dtype) -> None:
    tensor = torch.randn(4, 5, 6).to(dtype).transpose(0, 2)
    handed = to_handoff(tensor)
    assert handed.dtype == str(dtype).removeprefix("torch.")
    assert torch.equal(from_handoff(handed, torch.device("cpu"), dtype), tensor)
