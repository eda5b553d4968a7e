"""Würstchen's stages against diffusers' pipelines, to the bit; batches against rows alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.checkpoints.weights import Placement
from cascade_core.families.wuerstchen import WUERSTCHEN
from cascade_core.handoff import StageBLatent, WuerstchenLatent
from cascade_core.pipeline import CascadePipeline
from cascade_core.request import GenerationRequest
from cascade_core.stages.stage_a import StageA
from cascade_core.stages.tensors import from_handoff
from cascade_core.stages.wuerstchen_b import WuerstchenBTask
from cascade_core.stages.wuerstchen_c import WuerstchenCTask
from tests.cascade_core.test_parity_batches import MIXED, run_alone, run_staggered
from tests.stock_models import StockDecoder
from tests.tiny_wuerstchen import (
    TinyWuerstchen,
    build_tiny_wuerstchen,
    stock_decoder,
    stock_prior,
)

TOLERANCE = 1e-5
"""Of the size of a latent, at the end of all steps."""

BASE = GenerationRequest(
    prompt="a red ring on a blue background",
    width=256,
    height=256,
    seed=1,
    decoder_seed=2,
    steps=6,
    guidance_scale=4.0,
    decoder_steps=4,
)
REQUESTS = {
    "guided": BASE,
    "one step": replace(BASE, steps=1, decoder_steps=1),
    "published steps": replace(BASE, seed=7, steps=60, decoder_steps=12),
    "no guidance": replace(BASE, guidance_scale=0.0, seed=0),
    "guidance of one is off": replace(BASE, guidance_scale=1.0, decoder_guidance_scale=1.0),
    "both guided": replace(BASE, guidance_scale=5.3, decoder_guidance_scale=1.1, seed=3),
    "negative prompt": replace(BASE, negative_prompt="a green dot", decoder_guidance_scale=1.7),
    "landscape": replace(BASE, width=384, guidance_scale=2.2),
    "portrait": replace(BASE, height=512, decoder_guidance_scale=3.0),
    "long prompt": replace(BASE, prompt="a small yellow star " * 20),
    "empty prompt": replace(BASE, prompt=""),
}


def run_stock_prior(model: TinyWuerstchen, request: GenerationRequest) -> Any:
    return stock_prior(model)(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        width=request.width,
        height=request.height,
        num_inference_steps=request.steps,
        guidance_scale=request.guidance_scale,
        generator=torch.Generator("cpu").manual_seed(request.seed),
    ).image_embeddings


def run_stock_decoder(
    model: TinyWuerstchen, request: GenerationRequest, image_embeddings: Any, output_type: str
) -> Any:
    return stock_decoder(model)(
        image_embeddings=image_embeddings,
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        num_inference_steps=request.decoder_steps,
        guidance_scale=request.decoder_guidance_scale,
        generator=torch.Generator("cpu").manual_seed(request.decoder_seed),
        output_type=output_type,
    ).images


def compose(pipeline: CascadePipeline, request: GenerationRequest) -> WuerstchenLatent:
    latent: WuerstchenLatent = run_alone(pipeline.stages["c"], WuerstchenCTask(request))
    return latent


def detail(pipeline: CascadePipeline, request: GenerationRequest) -> StageBLatent:
    task = WuerstchenBTask(compose(pipeline, request), request)
    latent: StageBLatent = run_alone(pipeline.stages["b"], task)
    return latent


def tensor_of(latent: Any, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return from_handoff(latent.latents_chw, torch.device("cpu"), dtype)[None]


def relative(one: Any, other: Any) -> float:
    expected = other.latents_chw.array
    return float(np.linalg.norm(one.latents_chw.array - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("name", REQUESTS)
def test_latents_and_pixels_equal_the_stock_pipelines_to_the_bit(
    name: str,
    wuerstchen: TinyWuerstchen,
    wuerstchen_checkpoint: Checkpoint,
    wuerstchen_pipeline: CascadePipeline,
) -> None:
    request = REQUESTS[name]
    image_embeddings = run_stock_prior(wuerstchen, request)
    details = run_stock_decoder(wuerstchen, request, image_embeddings, "latent")
    picture = run_stock_decoder(wuerstchen, request, image_embeddings, "pil")[0]

    composed = compose(wuerstchen_pipeline, request)
    ours = detail(wuerstchen_pipeline, request)
    # The decoder of Stage A is our own, which rounds otherwise; see test_parity.
    stage_a = StageA(wuerstchen_checkpoint, StockDecoder(wuerstchen.vqgan))  # type: ignore[arg-type]

    scaled = tensor_of(composed) * composed.factor - composed.offset
    assert torch.equal(scaled, image_embeddings)
    assert torch.equal(tensor_of(ours), details)
    assert np.array_equal(run_alone(stage_a, ours), np.asarray(picture))


def test_the_whole_pipeline_draws_the_stock_picture_but_for_one_level(
    wuerstchen: TinyWuerstchen, wuerstchen_pipeline: CascadePipeline
) -> None:
    picture = run_stock_decoder(wuerstchen, BASE, run_stock_prior(wuerstchen, BASE), "pil")[0]
    ours = wuerstchen_pipeline.run(BASE).pixels_hwc.astype(int)
    assert np.abs(ours - np.asarray(picture).astype(int)).max() <= 1
    assert ours.std() > 1


def test_bfloat16_rounds_where_the_stock_pipelines_round(wuerstchen_checkpoint: Checkpoint) -> None:
    request = replace(BASE, negative_prompt="a green dot", decoder_guidance_scale=1.7)
    model = build_tiny_wuerstchen().to(torch.bfloat16)
    image_embeddings = run_stock_prior(model, request)
    details = run_stock_decoder(model, request, image_embeddings, "latent")

    pipeline = CascadePipeline.load(wuerstchen_checkpoint, Placement("cpu", "bfloat16"), WUERSTCHEN)
    composed, ours = compose(pipeline, request), detail(pipeline, request)

    assert (composed.latents_chw.dtype, ours.latents_chw.dtype) == ("bfloat16", "bfloat16")
    scaled = tensor_of(composed, torch.bfloat16) * composed.factor - composed.offset
    assert torch.equal(scaled, image_embeddings)
    assert torch.equal(tensor_of(ours, torch.bfloat16), details)


def test_rows_of_the_prior_do_not_depend_on_their_neighbours(
    wuerstchen_pipeline: CascadePipeline,
) -> None:
    stage = wuerstchen_pipeline.stages["c"]
    together = run_staggered(stage, map(WuerstchenCTask, MIXED))
    for request, latent in zip(MIXED, together, strict=True):
        assert latent.request == request
        assert relative(latent, run_alone(stage, WuerstchenCTask(request))) < TOLERANCE


def test_rows_of_the_decoder_do_not_depend_on_their_neighbours(
    wuerstchen_pipeline: CascadePipeline,
) -> None:
    stage = wuerstchen_pipeline.stages["b"]
    short = [replace(request, steps=2) for request in MIXED]
    tasks = [WuerstchenBTask(compose(wuerstchen_pipeline, one), one) for one in short]
    together = run_staggered(stage, tasks)
    for task, latent in zip(tasks, together, strict=True):
        assert latent.request == task.request
        assert relative(latent, run_alone(stage, task)) < TOLERANCE
