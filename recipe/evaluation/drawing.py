"""Draw captions and latents with an exported cascade in the stock diffusers pipelines."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import diffusers.pipelines
import diffusers.pipelines.deprecated.wuerstchen as wuerstchen
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

Picture = NDArray[np.uint8]

BATCH: Final = 10
STEPS: Final = 20
DECODER_STEPS: Final = 10
GUIDANCE: Final = 2.0


def load_pipeline(folder: Path) -> Any:
    """Load an exported folder as the stock StableCascadeCombinedPipeline in float32."""
    # diffusers moved this library; published indexes still name it (diffusers issue 14008).
    diffusers.pipelines.wuerstchen = wuerstchen
    text_encoder = CLIPTextModelWithProjection.from_pretrained(
        folder / "text_encoder", dtype=torch.float32
    )
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    pipeline = diffusers.StableCascadeCombinedPipeline.from_pretrained(
        folder,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        prior_text_encoder=text_encoder,
        prior_tokenizer=tokenizer,
        torch_dtype=torch.float32,
    )
    pipeline.set_progress_bar_config(disable=True)
    pipeline.prior_pipe.set_progress_bar_config(disable=True)
    pipeline.decoder_pipe.set_progress_bar_config(disable=True)
    return pipeline


def generators(seed: int, count: int) -> list[torch.Generator]:
    """One generator per picture, so that a picture does not depend on its batch."""
    return [torch.Generator().manual_seed(1000 * seed + i) for i in range(count)]


def draw(
    pipeline: Any, captions: list[str], seed: int, size_px: tuple[int, int] = (256, 256)
) -> list[Picture]:
    """Draw captions with the whole cascade on canvases of (width, height)."""
    pictures: list[Picture] = []
    chosen = generators(seed, len(captions))
    for part in _batches(len(captions)):
        images = pipeline(
            prompt=captions[part],
            width=size_px[0],
            height=size_px[1],
            prior_num_inference_steps=STEPS,
            num_inference_steps=DECODER_STEPS,
            prior_guidance_scale=GUIDANCE,
            generator=chosen[part],
        ).images
        pictures += [np.asarray(image) for image in images]
    return pictures


def compose(pipeline: Any, captions: list[str], seed: int) -> Tensor:
    """Return Stage C latents (n, 16, 6, 6) of captions."""
    chosen = generators(seed, len(captions))
    latents = [
        pipeline.prior_pipe(
            prompt=captions[part],
            width=256,
            height=256,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            generator=chosen[part],
        ).image_embeddings
        for part in _batches(len(captions))
    ]
    return torch.cat(latents)


def decode(pipeline: Any, latents: Tensor, captions: list[str], seed: int) -> list[Picture]:
    """Draw Stage C latents (n, 16, 6, 6) with Stage B and Stage A alone."""
    pictures: list[Picture] = []
    chosen = generators(seed, len(captions))
    for part in _batches(len(captions)):
        images = pipeline.decoder_pipe(
            image_embeddings=latents[part],
            prompt=captions[part],
            num_inference_steps=DECODER_STEPS,
            guidance_scale=0.0,
            generator=chosen[part],
        ).images
        pictures += [np.asarray(image) for image in images]
    return pictures


def _batches(count: int) -> Iterator[slice]:
    return (slice(start, start + BATCH) for start in range(0, count, BATCH))
