"""The denoising loop of Stages C and B, one step at a time and per row.

Every row has its own steps, guidance and noise. Nothing in the U-Nets looks across rows, so rows
that differ in all of these share a forward pass if their latents have one shape. The order of every
operation follows diffusers: with its U-Nets, one row alone gives its pipelines' result bit for bit.

Source: StableCascadePriorPipeline, StableCascadeDecoderPipeline, DDPMWuerstchenScheduler, diffusers
0.42.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi
from typing import Any, Final, Protocol

import torch

from cascade_core.device_copy import to_device
from cascade_core.sampling.noise import NoiseStream

STEP_TABLES_BYTES: Final = 64 * 2**20
"""Limit of the tables that a stage keeps. One of Stage C of the published model takes 0.5 MB for
each step in bfloat16: 10 MB at 20 steps, 52 MB at 100."""


class Unet(Protocol):
    """Predicts noise; see :class:`cascade_core.models.unet.CascadeUnet`."""

    @property
    def device(self) -> torch.device: ...  # noqa: D102

    @property
    def dtype(self) -> torch.dtype: ...  # noqa: D102

    def time_table(self, times: torch.Tensor) -> torch.Tensor: ...  # noqa: D102

    def __call__(  # noqa: D102
        self, latents_bchw: torch.Tensor, times_bt: torch.Tensor, held: Sequence[Any]
    ) -> torch.Tensor: ...


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


@dataclass(frozen=True, slots=True, eq=False)
class StepTable:
    """What all rows with equally many steps share.

    Attributes:
        times_st: what the U-Net needs of the time before each step, (steps, t).
        factors: of the solver at each step, (steps, 5) float32: the latent's parts of signal and
            of noise, then the three of :func:`_denoise`.
    """

    times_st: torch.Tensor
    factors: torch.Tensor

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        return self.times_st.nbytes + self.factors.nbytes


@dataclass(slots=True, eq=False)
class Prediction:
    """The U-Net's answer in a row's last step: noise in a latent.

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
        table: of its number of steps.
        noise: its draws that are left.
        cond: conditioning of the prompt, as the U-Net holds it.
        uncond: conditioning of the negative prompt; None if guidance is off.
        guidance: how far to go from ``uncond`` towards ``cond``; see :func:`guidance_tensor`.
        step: steps done.
        last: the last step's prediction, for previews.
    """

    latents_bchw: torch.Tensor
    table: StepTable
    noise: NoiseStream
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


def make_step_table(unet: Unet, schedule: CosineSchedule, steps: int) -> StepTable:
    """Return the table of steps between evenly spaced times from 1 to 0."""
    times = torch.linspace(1.0, 0.0, steps + 1)
    # The rounded time goes to the U-Net and to the scheduler alike, as diffusers does.
    rounded, following = times[:-1].to(unet.dtype), times[1:]
    alpha_bar, next_alpha_bar = schedule.alpha_bar(rounded), schedule.alpha_bar(following)
    alpha = alpha_bar / next_alpha_bar
    spread = ((1 - alpha) * (1.0 - next_alpha_bar) / (1.0 - alpha_bar)).sqrt()
    factors = [
        alpha_bar.sqrt(),
        (1 - alpha_bar).sqrt(),
        (1.0 / alpha).sqrt(),
        1 - alpha,
        spread * (following != 0),
    ]
    times_st = unet.time_table(to_device(rounded, unet.device))
    return StepTable(times_st, to_device(torch.stack(factors, 1), unet.device))


class StepTables:
    """The step tables of a stage: those used last are kept, for one thread.

    Args:
        unet: of the stage.
        schedule: of the stage.
        limit_bytes: of all kept tables together; a larger one is made for each row anew.
    """

    def __init__(
        self, unet: Unet, schedule: CosineSchedule, limit_bytes: int = STEP_TABLES_BYTES
    ) -> None:
        self._unet = unet
        self._schedule = schedule
        self._limit_bytes = limit_bytes
        self._kept: dict[int, StepTable] = {}

    def of(self, steps: int) -> StepTable:
        """Return the table of so many steps."""
        table = self._kept.pop(steps, None) or make_step_table(self._unet, self._schedule, steps)
        self._kept[steps] = table
        while sum(kept.nbytes for kept in self._kept.values()) > self._limit_bytes:
            del self._kept[next(iter(self._kept))]
        return table


def is_guided(guidance_scale: float) -> bool:
    """Return True if guidance is on; a scale of 1 or less turns it off."""
    return guidance_scale > 1


def guidance_tensor(guidance_scale: float, device: torch.device) -> torch.Tensor:
    """Return a row's guidance scale as a step reads it, (1, 1, 1, 1) float32."""
    # Filled on the device; torch.tensor would copy from the CPU, and wait.
    return torch.full((1, 1, 1, 1), guidance_scale, dtype=torch.float32, device=device)


def advance(unet: Unet, rows: Sequence[SamplerRow]) -> None:
    """Do one step of every row; if anything fails, all rows stay as they were.

    On a CUDA device it returns before the step is done: nothing in it waits for the device.
    """
    # Guided rows first, so that slices pick them and their unconditional twins.
    ordered = sorted(rows, key=lambda row: row.uncond is None)
    latents = torch.cat([row.latents_bchw for row in ordered])
    predicted = _predict(unet, ordered, latents)
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


def _predict(unet: Unet, ordered: Sequence[SamplerRow], latents: torch.Tensor) -> torch.Tensor:
    """Return the guided noise prediction of every row, (b, c, h, w)."""
    guided = [row for row in ordered if row.uncond is not None]
    predicted = unet(
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
