"""The denoising loop of Stages C and B, one step at a time and per row.

Every row has its own timesteps, guidance and noise. Nothing in the U-Nets looks across rows, so
rows that differ in all of these share a forward pass if their latents have one shape. The order of
every operation follows diffusers, so that one row alone gives its pipelines' result bit for bit.

Source: StableCascadePriorPipeline, StableCascadeDecoderPipeline, DDPMWuerstchenScheduler, diffusers
0.42.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import pi

import torch

from cascade_core.sampling.noise import NoiseStream

Conditioning = Mapping[str, torch.Tensor]
"""Keyword arguments of the U-Net for one row, each of batch size 1."""

Unet = Callable[..., tuple[torch.Tensor, ...]]


@dataclass(frozen=True, slots=True)
class CosineSchedule:
    """The noise schedule; ``s`` and ``scaler`` come from ``scheduler_config.json``."""

    s: float = 0.008
    scaler: float = 1.0

    def alpha_bar(self, t: torch.Tensor) -> torch.Tensor:
        """Return how much signal is left at each time, float32 between 0.0001 and 0.9999."""
        # As a tensor: Python floats would round differently.
        s = torch.tensor([self.s])
        if self.scaler > 1:
            t = 1 - (1 - t) ** self.scaler
        elif self.scaler < 1:
            t = t**self.scaler
        start = torch.cos(s / (1 + s) * pi * 0.5) ** 2
        return (torch.cos((t + s) / (1 + s) * pi * 0.5) ** 2 / start).clamp(0.0001, 0.9999)


@dataclass(slots=True, eq=False)
class Prediction:
    """The U-Net's answer in a row's last step: noise in a latent at a signal level."""

    latents_bchw: torch.Tensor
    noise_bchw: torch.Tensor
    alpha_bar: torch.Tensor

    def clean(self) -> torch.Tensor:
        """Return the latent without the predicted noise, float32."""
        alpha_bar = self.alpha_bar.to(self.latents_bchw.device)
        noise = (1 - alpha_bar).sqrt() * self.noise_bchw.float()
        return (self.latents_bchw.float() - noise) / alpha_bar.sqrt()


@dataclass(slots=True, eq=False, kw_only=True)
class SamplerRow:
    """One request's state between two steps.

    Attributes:
        latents_bchw: (1, c, h, w) in the model's dtype, on its device.
        timesteps: (steps + 1,) float32 on the CPU, from 1 to 0.
        cond: conditioning of the prompt.
        uncond: conditioning of the negative prompt; None if guidance is off.
        guidance_scale: how far to go from ``uncond`` towards ``cond``.
        step: steps done.
        last: the last step's prediction, for previews.
    """

    latents_bchw: torch.Tensor
    timesteps: torch.Tensor
    noise: NoiseStream
    cond: Conditioning
    uncond: Conditioning | None
    guidance_scale: float
    step: int = 0
    last: Prediction | None = None

    @property
    def steps(self) -> int:
        """Steps in all."""
        return len(self.timesteps) - 1

    @property
    def bucket(self) -> tuple[int, ...]:
        """The latent's shape; rows of one bucket may share a forward pass."""
        return tuple(self.latents_bchw.shape[1:])


def make_timesteps(steps: int) -> torch.Tensor:
    """Return the times between which the steps go, (steps + 1,) float32 from 1 to 0."""
    return torch.linspace(1.0, 0.0, steps + 1)


def is_guided(guidance_scale: float) -> bool:
    """Return True if guidance is on; a scale of 1 or less turns it off."""
    return guidance_scale > 1


def advance(unet: Unet, schedule: CosineSchedule, rows: Sequence[SamplerRow]) -> None:
    """Do one step of every row; if anything fails, all rows stay as they were."""
    # Guided rows first, so that slices pick them and their unconditional twins.
    ordered = sorted(rows, key=lambda row: row.uncond is None)
    latents = torch.cat([row.latents_bchw for row in ordered])
    # The rounded time goes to the U-Net and to the scheduler alike, as diffusers does.
    times = torch.stack([row.timesteps[row.step] for row in ordered]).to(latents.dtype)
    predicted = _predict(unet, ordered, latents, times)
    next_times = torch.stack([row.timesteps[row.step + 1] for row in ordered])
    noise = torch.cat([row.noise.peek() for row in ordered]).to(latents.device)
    alpha_bar = schedule.alpha_bar(times)
    stepped = _denoise(
        latents, predicted, noise, alpha_bar, schedule.alpha_bar(next_times), next_times != 0
    )
    for index, row in enumerate(ordered):
        at = slice(index, index + 1)
        row.last = Prediction(latents[at], predicted[at], alpha_bar[at].view(-1, 1, 1, 1))
        row.latents_bchw = stepped[at]
        row.noise.advance()
        row.step += 1


def _predict(
    unet: Unet, ordered: Sequence[SamplerRow], latents: torch.Tensor, times: torch.Tensor
) -> torch.Tensor:
    """Return the guided noise prediction of every row, (b, c, h, w)."""
    guided = [row for row in ordered if row.uncond is not None]
    conditions = [row.cond for row in ordered] + [row.uncond for row in guided if row.uncond]
    times = times.to(latents.device)
    predicted = unet(
        sample=torch.cat([latents, latents[: len(guided)]]),
        timestep_ratio=torch.cat([times, times[: len(guided)]]),
        **{name: torch.cat([one[name] for one in conditions]) for name in conditions[0]},
        return_dict=False,
    )[0]
    if not guided:
        return predicted
    with_prompt, without = predicted[: len(ordered)], predicted[len(ordered) :]
    scales = torch.tensor([row.guidance_scale for row in guided], device=latents.device)
    # In float32 per-row scales equal diffusers' scalar to the bit; bfloat16 scales would not.
    mixed = torch.lerp(
        without.float(), with_prompt[: len(guided)].float(), scales.view(-1, 1, 1, 1)
    )
    return torch.cat([mixed.to(latents.dtype), with_prompt[len(guided) :]])


def _denoise(
    latents: torch.Tensor,
    predicted: torch.Tensor,
    noise: torch.Tensor,
    alpha_bar: torch.Tensor,
    next_alpha_bar: torch.Tensor,
    is_noisy: torch.Tensor,
) -> torch.Tensor:
    """Return the latents at the next times; ``is_noisy`` is false for the last step."""
    alpha = alpha_bar / next_alpha_bar
    factors = torch.stack(
        [
            (1.0 / alpha).sqrt(),
            1 - alpha,
            (1 - alpha_bar).sqrt(),
            ((1 - alpha) * (1.0 - next_alpha_bar) / (1.0 - alpha_bar)).sqrt(),
            is_noisy.float(),
        ]
    ).view(5, -1, 1, 1, 1)
    scale, removed, total, spread, keep = factors.to(latents.device)
    mean = scale * (latents - removed * predicted / total)
    stepped: torch.Tensor = mean + spread * noise * keep
    return stepped.to(latents.dtype)
