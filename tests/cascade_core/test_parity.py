"""Our loops against the stock diffusers pipelines, one request at a time.

With diffusers' modules they are equal to the bit, with our networks but for rounding.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.pipeline import CascadePipeline
from cascade_core.request import GenerationRequest
from cascade_core.stages.stage_b import StageBTask
from cascade_core.stages.tensors import from_handoff
from tests.stock_models import stock_modules_pipeline
from tests.tiny_model import (
    TinyModel,
    build_tiny_model,
    stock_combined,
    stock_decoder,
    stock_prior,
)

BASE = GenerationRequest(
    prompt="a red cat on 7 hats",
    width=256,
    height=256,
    seed=1,
    decoder_seed=2,
    steps=5,
    guidance_scale=4.0,
    decoder_steps=3,
)

REQUESTS = {
    "one step": replace(BASE, steps=1, decoder_steps=1),
    "published steps": replace(BASE, seed=7, steps=20, decoder_steps=10),
    "many steps": replace(BASE, seed=8, steps=61, decoder_steps=13),
    "no guidance": replace(BASE, guidance_scale=0.0, seed=0),
    "guidance of one is off": replace(BASE, guidance_scale=1.0, decoder_guidance_scale=1.0),
    "both guided": replace(BASE, guidance_scale=5.3, decoder_guidance_scale=1.1, seed=3),
    "decoder alone guided": replace(BASE, guidance_scale=0.0, decoder_guidance_scale=2.7),
    "negative prompt": replace(BASE, negative_prompt="blue dog", decoder_guidance_scale=1.7),
    "largest seed": replace(BASE, seed=2**32 - 1, decoder_seed=2**32 - 1),
    "landscape": replace(BASE, width=384, guidance_scale=2.2),
    "portrait": replace(BASE, height=512, decoder_guidance_scale=3.0),
    "long prompt": replace(BASE, prompt="many words " * 60),
    "empty prompt": replace(BASE, prompt=""),
}


def run_stock_prior(model: TinyModel, request: GenerationRequest) -> Any:
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
    model: TinyModel, request: GenerationRequest, image_embeddings: Any, output_type: str
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


def run_stage_b(pipeline: CascadePipeline, task: StageBTask) -> torch.Tensor:
    row = pipeline.stages["b"].admit(task)
    while row.step < row.steps:
        pipeline.stages["b"].advance([row])
    latent = pipeline.stages["b"].result(row).latents_chw
    return from_handoff(latent, torch.device("cpu"), row.latents_bchw.dtype)[None]


@pytest.mark.parametrize("name", REQUESTS)
def test_latents_and_pixels_equal_the_stock_pipelines_to_the_bit(
    name: str, tiny_model: TinyModel, stock_pipeline: CascadePipeline
) -> None:
    request = REQUESTS[name]
    image_embeddings = run_stock_prior(tiny_model, request)
    stage_b = run_stock_decoder(tiny_model, request, image_embeddings, "latent")
    picture = run_stock_decoder(tiny_model, request, image_embeddings, "pil")[0]

    ours = stock_pipeline.run(request)

    assert np.array_equal(ours.latent.latents_chw.array, image_embeddings[0].numpy())
    assert torch.equal(run_stage_b(stock_pipeline, StageBTask(ours.latent, request)), stage_b)
    assert ours.pixels_hwc.shape == (request.height, request.width, 3)
    assert np.array_equal(ours.pixels_hwc, np.asarray(picture))


@pytest.mark.parametrize("name", REQUESTS)
def test_our_networks_draw_the_same_picture_but_for_one_level(
    name: str, tiny_pipeline: CascadePipeline, stock_pipeline: CascadePipeline
) -> None:
    ours, stock = (one.run(REQUESTS[name]) for one in (tiny_pipeline, stock_pipeline))
    latent, expected = (one.latent.latents_chw.array for one in (ours, stock))
    assert np.abs(latent - expected).max() < 1e-4 * np.abs(expected).max()
    pixels, expected = (one.pixels_hwc.astype(int) for one in (ours, stock))
    assert np.abs(pixels - expected).max() <= 1


def test_a_picture_equals_the_combined_pipeline_reseeded_between_its_stages(
    tiny_model: TinyModel, stock_pipeline: CascadePipeline
) -> None:
    request = replace(BASE, negative_prompt="dog", decoder_guidance_scale=1.4)
    generator = torch.Generator("cpu").manual_seed(request.seed)

    def reseed_after_last_step(_: Any, step: int, __: Any, tensors: Any) -> Any:
        if step == request.steps - 1:
            generator.manual_seed(request.decoder_seed)
        return tensors

    picture = stock_combined(tiny_model)(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        width=request.width,
        height=request.height,
        prior_num_inference_steps=request.steps,
        prior_guidance_scale=request.guidance_scale,
        num_inference_steps=request.decoder_steps,
        decoder_guidance_scale=request.decoder_guidance_scale,
        generator=generator,
        prior_callback_on_step_end=reseed_after_last_step,
    ).images[0]

    assert np.array_equal(stock_pipeline.run(request).pixels_hwc, np.asarray(picture))


def test_varied_details_equal_the_stock_decoder_with_the_new_seed(
    tiny_model: TinyModel, stock_pipeline: CascadePipeline
) -> None:
    latent = stock_pipeline.run(BASE).latent
    varied = replace(BASE, kind="vary_details", latent_id="x", decoder_seed=99, decoder_steps=4)
    image_embeddings = run_stock_prior(tiny_model, BASE)
    picture = run_stock_decoder(tiny_model, varied, image_embeddings, "pil")[0]

    assert np.array_equal(stock_pipeline.run(varied, latent).pixels_hwc, np.asarray(picture))


def test_bfloat16_rounds_where_the_stock_pipelines_round(tiny_checkpoint: Checkpoint) -> None:
    request = replace(BASE, steps=20, guidance_scale=5.3, decoder_guidance_scale=1.1)
    model = build_tiny_model().to(torch.bfloat16)
    image_embeddings = run_stock_prior(model, request)
    stage_b = run_stock_decoder(model, request, image_embeddings, "latent")
    picture = run_stock_decoder(model, request, image_embeddings, "pil")[0]

    pipeline = stock_modules_pipeline(tiny_checkpoint, model)
    ours = pipeline.run(request)

    assert ours.latent.latents_chw.dtype == "bfloat16"
    assert torch.equal(
        from_handoff(ours.latent.latents_chw, torch.device("cpu"), torch.bfloat16),
        image_embeddings[0],
    )
    assert torch.equal(run_stage_b(pipeline, StageBTask(ours.latent, request)), stage_b)
    assert np.array_equal(ours.pixels_hwc, np.asarray(picture))
