"""Compositions that start from a stored latent, against diffusers' modules in a plain loop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMWuerstchenScheduler

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.errors import HandoffInvalid, ModelMismatch, Unsupported
from cascade_core.handoff import StageCLatent
from cascade_core.pipeline import CascadePipeline
from cascade_core.request import GenerationRequest
from cascade_core.stages.stage_b import StageBTask
from cascade_core.stages.stage_c import StageCTask
from cascade_core.stages.tensors import from_handoff
from tests.cascade_core.test_parity_batches import (
    MIXED,
    TOLERANCE,
    largest_difference,
    run_alone,
    run_staggered,
)
from tests.stock_models import stock_modules_pipeline
from tests.tiny_model import TinyModel, build_tiny_model, stock_prior

BASE = GenerationRequest(
    prompt="a red cat on 7 hats",
    width=256,
    height=384,
    seed=1,
    decoder_seed=2,
    steps=10,
    guidance_scale=4.0,
    decoder_steps=3,
)
VARY = replace(BASE, kind="vary", latent_id="x", strength=0.7, seed=5, decoder_seed=6)


def run_plain_loop(
    model: TinyModel, request: GenerationRequest, clean_bchw: torch.Tensor
) -> torch.Tensor:
    """Return the composition of a guided request that starts from a latent.

    Diffusers' prior pipeline has no first time: it always starts from noise alone.
    """
    text, pooled, without_text, without_pooled = stock_prior(model).encode_prompt(
        "cpu", 1, 1, True, prompt=request.prompt, negative_prompt=request.negative_prompt
    )
    generator = torch.Generator("cpu").manual_seed(request.seed)
    dtype, scheduler = clean_bchw.dtype, DDPMWuerstchenScheduler()
    assert request.strength is not None
    times = torch.linspace(request.strength, 0.0, request.composing_steps + 1)
    scheduler.set_timesteps(timesteps=times)
    noise = torch.randn(clean_bchw.shape, generator=generator, dtype=dtype)
    latents = scheduler.add_noise(clean_bchw, noise, times[:1].to(dtype))
    image = torch.zeros(2, 1, model.prior.config.clip_image_in_channels, dtype=dtype)
    for time in times[:-1]:
        ratio = time.expand(1).to(dtype)
        predicted = model.prior(
            sample=torch.cat([latents] * 2),
            timestep_ratio=torch.cat([ratio] * 2),
            clip_text=torch.cat([text, without_text]),
            clip_text_pooled=torch.cat([pooled, without_pooled]),
            clip_img=image,
            return_dict=False,
        )[0]
        with_prompt, without = predicted.chunk(2)
        guided = torch.lerp(without, with_prompt, request.guidance_scale)
        latents = scheduler.step(guided, ratio, latents, generator=generator).prev_sample
    return latents


@pytest.fixture(scope="module")
def latent(tiny_pipeline: CascadePipeline) -> StageCLatent:
    found: StageCLatent = run_alone(tiny_pipeline.stages["c"], StageCTask(BASE))
    return found


def vary(pipeline: CascadePipeline, request: GenerationRequest, latent: StageCLatent) -> Any:
    return run_alone(pipeline.stages["c"], StageCTask(request, latent))


@torch.inference_mode()
def equals_plain_loop(
    pipeline: CascadePipeline, model: TinyModel, request: GenerationRequest
) -> bool:
    dtype = model.prior.dtype
    stored = run_alone(pipeline.stages["c"], StageCTask(BASE))
    ours = vary(pipeline, request, stored)
    clean_bchw = from_handoff(stored.latents_chw, torch.device("cpu"), dtype)[None]
    expected = run_plain_loop(model, request, clean_bchw)
    return torch.equal(from_handoff(ours.latents_chw, torch.device("cpu"), dtype)[None], expected)


@pytest.mark.parametrize("strength", [0.05, 0.33, 0.7, 0.9])
def test_a_composition_from_a_latent_equals_diffusers_modules_to_the_bit(
    strength: float, tiny_model: TinyModel, stock_pipeline: CascadePipeline
) -> None:
    request = replace(VARY, strength=strength, negative_prompt="dogs")
    assert equals_plain_loop(stock_pipeline, tiny_model, request)


def test_a_remix_equals_diffusers_modules_to_the_bit(
    tiny_model: TinyModel, stock_pipeline: CascadePipeline
) -> None:
    request = replace(VARY, prompt="a blue dog")
    assert equals_plain_loop(stock_pipeline, tiny_model, request)


def test_bfloat16_uses_the_rounded_time_for_the_noise_and_for_the_unet(
    tiny_checkpoint: Checkpoint,
) -> None:
    model = build_tiny_model().to(torch.bfloat16)
    pipeline = stock_modules_pipeline(tiny_checkpoint, model)
    stored = run_alone(pipeline.stages["c"], StageCTask(BASE))
    request = replace(VARY, strength=0.9)  # 0.8984375 in bfloat16
    row = pipeline.stages["c"].admit(StageCTask(request, stored))
    noise = torch.randn(
        row.latents_bchw.shape, generator=torch.Generator().manual_seed(5), dtype=torch.bfloat16
    )
    clean = from_handoff(stored.latents_chw, torch.device("cpu"), torch.bfloat16)[None]
    rounded = torch.tensor([0.9]).to(torch.bfloat16)

    assert torch.equal(row.table.times_st[0], rounded)
    expected = DDPMWuerstchenScheduler().add_noise(clean, noise, rounded)
    assert torch.equal(row.latents_bchw, expected)


def test_full_strength_equals_a_new_picture_with_that_seed_to_the_bit(
    tiny_pipeline: CascadePipeline, latent: StageCLatent
) -> None:
    new = replace(BASE, seed=VARY.seed, decoder_seed=VARY.decoder_seed)
    ours = tiny_pipeline.run(replace(VARY, strength=1.0), latent)
    expected = tiny_pipeline.run(new)
    assert np.array_equal(ours.latent.latents_chw.array, expected.latent.latents_chw.array)
    assert np.array_equal(ours.pixels_hwc, expected.pixels_hwc)


def test_no_strength_passes_the_latent_through_to_the_bit(
    tiny_pipeline: CascadePipeline, latent: StageCLatent
) -> None:
    ours = tiny_pipeline.run(replace(VARY, strength=0.0), latent)
    details = replace(VARY, kind="vary_details", strength=None)
    expected = tiny_pipeline.run(details, latent)
    assert np.array_equal(ours.latent.latents_chw.array, latent.latents_chw.array)
    assert np.array_equal(ours.latent.pooled.array, latent.pooled.array)
    assert np.array_equal(ours.pixels_hwc, expected.pixels_hwc)


def test_a_picture_of_a_series_equals_its_variation_alone_to_the_bit(
    tiny_pipeline: CascadePipeline,
) -> None:
    hero = tiny_pipeline.run(BASE).latent
    variants = [{"animal": "cat"}, {"animal": "dog"}]
    prompt = "a red {animal} on 7 hats"
    series = replace(VARY, kind="series", prompt=prompt, variants=variants, n=2)
    pictures = [tiny_pipeline.run(series.for_image(index), hero).pixels_hwc for index in (0, 1)]
    alone = tiny_pipeline.run(replace(VARY, prompt="a red dog on 7 hats"), hero).pixels_hwc
    assert np.array_equal(pictures[1], alone)
    assert not np.array_equal(pictures[0], alone)


def test_more_strength_leads_further_from_the_latent(
    tiny_pipeline: CascadePipeline, latent: StageCLatent
) -> None:
    found = [
        vary(tiny_pipeline, replace(VARY, strength=strength), latent)
        for strength in (0.0, 0.1, 0.5, 0.9)
    ]
    assert [largest_difference(one, latent) > 0.01 for one in found] == [False, True, True, True]
    mean = [np.abs(one.latents_chw.array - latent.latents_chw.array).mean() for one in found]
    assert mean == sorted(mean)


def test_rows_of_any_strength_share_steps_and_do_not_depend_on_each_other(
    tiny_pipeline: CascadePipeline,
) -> None:
    stage = tiny_pipeline.stages["c"]
    stored = run_alone(stage, StageCTask(MIXED[0]))
    tasks = [StageCTask(request) for request in MIXED]
    for request, strength in zip(MIXED, (0.0, 0.3, 0.7, 1.0), strict=True):
        varied = replace(request, kind="vary", latent_id="x", strength=strength)
        tasks.insert(0, StageCTask(varied, stored))
    rows = [stage.admit(task) for task in tasks]
    assert len({row.bucket for row in rows}) == 1
    assert [row.steps for row in rows[:4]] == [1, 9, 3, 0]

    together = run_staggered(stage, tasks)

    for task, found in zip(tasks, together, strict=True):
        assert found.request == task.request
        assert largest_difference(found, run_alone(stage, task)) < TOLERANCE


@pytest.mark.parametrize(
    ("request_", "has_latent"),
    [(VARY, False), (BASE, True), (replace(VARY, n=2), True)],
    ids=["no latent", "no strength", "two images"],
)
def test_a_latent_comes_with_requests_that_depart_from_one_and_with_no_others(
    request_: GenerationRequest,
    has_latent: bool,
    tiny_pipeline: CascadePipeline,
    latent: StageCLatent,
) -> None:
    with pytest.raises(Unsupported):
        tiny_pipeline.stages["c"].admit(StageCTask(request_, latent if has_latent else None))


def test_a_latent_of_another_size_or_of_other_weights_is_refused(
    tiny_pipeline: CascadePipeline, latent: StageCLatent
) -> None:
    stage = tiny_pipeline.stages["c"]
    with pytest.raises(HandoffInvalid, match="the latent is for 256x384 px"):
        stage.admit(StageCTask(replace(VARY, width=384), latent))
    other = replace(latent, model=replace(latent.model, fingerprint="f"))
    with pytest.raises(ModelMismatch):
        stage.admit(StageCTask(VARY, other))


@pytest.mark.parametrize(("width", "height"), [(512, 768), (640, 896)])
def test_a_larger_decoding_has_the_pixels_and_steps_of_that_size(
    width: int, height: int, tiny_pipeline: CascadePipeline, latent: StageCLatent
) -> None:
    larger = replace(BASE, kind="decode", latent_id="x", width=width, height=height)
    row = tiny_pipeline.stages["b"].admit(StageBTask(latent, larger))
    assert row.bucket[1:] == (height // 4, width // 4)

    assert tiny_pipeline.run(larger, latent).pixels_hwc.shape == (height, width, 3)


def test_a_decoding_at_the_latents_own_size_equals_new_details_to_the_bit(
    tiny_pipeline: CascadePipeline, latent: StageCLatent
) -> None:
    decode = replace(BASE, kind="decode", latent_id="x", decoder_seed=9)
    details = replace(decode, kind="vary_details")
    one, other = (tiny_pipeline.run(request, latent).pixels_hwc for request in (decode, details))
    assert np.array_equal(one, other)


def test_sizes_that_stage_b_has_not_learnt_bring_a_warning(
    tiny_pipeline: CascadePipeline, tiny_checkpoint: Checkpoint, latent: StageCLatent
) -> None:
    warnings = tiny_pipeline.stages["b"].load_warnings(tiny_checkpoint)
    decode = replace(BASE, kind="decode", latent_id="x")
    assert warnings(replace(decode, width=384, height=512), latent) == []
    assert warnings(decode, None) == []
    [warning] = warnings(replace(decode, width=512, height=768), latent)
    assert warning.startswith("512x768 px is outside 0.75 to 1.5 times the composition's 256x384")
