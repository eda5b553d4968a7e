"""The denoising loop of Stages C and B, one step at a time and per row.

Every row has its own steps, first time, guidance and noise. Nothing in the U-Nets looks across
rows, so rows that differ in all of these share a forward pass if their latents have one shape. The
order of every operation follows diffusers: with its U-Nets, one row alone gives its pipelines'
result bit for bit.

Source: StableCascadePriorPipeline, StableCascadeDecoderPipeline, DDPMWuerstchenScheduler, diffusers
0.42.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from cascade_core.sampling.noise import Noise
from cascade_core.sampling.step_tables import StepTable

Predict = Callable[[torch.Tensor, torch.Tensor, Sequence[Any]], torch.Tensor]
"""Predicts what the solver needs of latents, as :class:`cascade_core.models.unet.CascadeUnet` does:
their noise, or the direction in which they move as noise grows."""


@dataclass(slots=True, eq=False)
class Prediction:
    """The net's answer in a row's last step: noise in a latent, or its direction.

    Attributes:
        factors: the row's line of its table, (5, 1, 1, 1, 1).
    """

    latents_bchw: torch.Tensor
    noise_bchw: torch.Tensor
    factors: torch.Tensor

    def clean(self) -> torch.Tensor:
        """Return the latent without the predicted noise, float32."""
        signal, noise = self.factors[:2]
        clean: torch.Tensor
        clean = (self.latents_bchw.float() - noise * self.noise_bchw.float()) / signal
        return clean


@dataclass(slots=True, eq=False, kw_only=True)
class SamplerRow:
    """One request's state between two steps.

    Attributes:
        latents_bchw: (1, c, h, w) in the model's dtype, on its device like all that a step reads:
            a value from the CPU would make the CPU wait for the device.
        table: of its number of steps and its first time.
        noise: its draws that are left.
        cond: conditioning of the prompt, as the U-Net holds it.
        uncond: conditioning of the negative prompt; None if guidance is off.
        guidance: how far to go from ``uncond`` towards ``cond``; see :func:`guidance_tensor`.
        step: steps done.
        last: the last step's prediction, for previews.
    """

    latents_bchw: torch.Tensor
    table: StepTable
    noise: Noise
    cond: Any
    uncond: Any | None
    guidance: torch.Tensor
    step: int = 0
    last: Prediction | None = None

    @property
    def steps(self) -> int:
        """Steps in all."""
        return len(self.table.factors)

    @property
    def bucket(self) -> tuple[int, ...]:
        """The latent's shape; rows of one bucket may share a forward pass."""
        return tuple(self.latents_bchw.shape[1:])


def is_guided(guidance_scale: float) -> bool:
    """Return True if guidance is on; a scale of 1 or less turns it off."""
    return guidance_scale > 1


def guidance_tensor(guidance_scale: float, device: torch.device) -> torch.Tensor:
    """Return a row's guidance scale as a step reads it, (1, 1, 1, 1) float32."""
    # Filled on the device; torch.tensor would copy from the CPU, and wait.
    return torch.full((1, 1, 1, 1), guidance_scale, dtype=torch.float32, device=device)


def advance(predict: Predict, rows: Sequence[SamplerRow]) -> None:
    """Do one step of every row; if anything fails, all rows stay as they were.

    On a CUDA device it returns before the step is done: nothing in it waits for the device.
    """
    # Guided rows first, so that slices pick them and their unconditional twins.
    ordered = sorted(rows, key=lambda row: row.uncond is None)
    latents = torch.cat([row.latents_bchw for row in ordered])
    predicted = _guided(predict, ordered, latents)
    noise = torch.cat([row.noise.peek() for row in ordered])
    factors = torch.stack([row.table.factors[row.step] for row in ordered], 1)
    factors = factors[:, :, None, None, None]
    stepped = _denoise(latents, predicted, noise, factors)
    for index, row in enumerate(ordered):
        at = slice(index, index + 1)
        row.last = Prediction(latents[at], predicted[at], factors[:, at])
        row.latents_bchw = stepped[at]
        row.noise.advance()
        row.step += 1


def _guided(predict: Predict, ordered: Sequence[SamplerRow], latents: torch.Tensor) -> torch.Tensor:
    """Return the guided noise prediction of every row, (b, c, h, w)."""
    guided = [row for row in ordered if row.uncond is not None]
    predicted = predict(
        torch.cat([latents, latents[: len(guided)]]),
        torch.stack([row.table.times_st[row.step] for row in [*ordered, *guided]]),
        [row.cond for row in ordered] + [row.uncond for row in guided],
    )
    if not guided:
        return predicted
    with_prompt, without = predicted[: len(ordered)], predicted[len(ordered) :]
    scales = torch.cat([row.guidance for row in guided])
    # In float32 per-row scales equal diffusers' scalar to the bit; bfloat16 scales would not.
    mixed = torch.lerp(without.float(), with_prompt[: len(guided)].float(), scales)
    return torch.cat([mixed.to(latents.dtype), with_prompt[len(guided) :]])


def _denoise(
    latents: torch.Tensor, predicted: torch.Tensor, noise: torch.Tensor, factors: torch.Tensor
) -> torch.Tensor:
    """Return the latents at the next times."""
    _, total, scale, removed, spread = factors
    mean = scale * (latents - removed * predicted / total)
    stepped: torch.Tensor = mean + spread * noise
    return stepped.to(latents.dtype)
