"""The noise schedule, and what rows with equal time steps read of it at every step.

Source: DDPMWuerstchenScheduler, diffusers 0.42.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi
from typing import Any, Final, Protocol

import torch

from cascade_core.device_copy import to_device

STEP_TABLES_BYTES: Final = 64 * 2**20
"""Limit of the tables that a stage keeps. One of Stage C of the published model takes 0.5 MB for
each step in bfloat16: 10 MB at 20 steps, 52 MB at 100."""
MAX_STEP_TABLES: Final = 256
"""Most tables that a stage keeps: rows may start at any time, and a small model's tables take few
bytes."""


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


class Schedule(Protocol):
    """Where steps lie in time, and what a solver does at each."""

    def times(self, steps: int, start: float) -> torch.Tensor:
        """Return the times of so many steps, (steps + 1,) float32.

        Args:
            steps: 0 or more.
            start: the part of all times at which the first step starts, 0 to 1.
        """

    def solver(self, times: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the factors of each step, see :class:`StepTable`, and the parts at the first time.

        Args:
            times: see :meth:`times`.
            dtype: in which the net gets them.

        Returns:
            (steps, 5) and (2,), float32.
        """


@dataclass(frozen=True, slots=True)
class CosineSchedule:
    """The noise schedule of cascades; ``s`` and ``scaler`` are of ``scheduler_config.json``."""

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

    def times(self, steps: int, start: float) -> torch.Tensor:
        """Return evenly spaced times from ``start`` to 0, (steps + 1,)."""
        return torch.linspace(start, 0.0, steps + 1)

    def solver(self, times: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the factors of each step and the parts at the first time; see Schedule."""
        # The rounded time goes to the net and to the solver alike, as diffusers does.
        alpha_bar, next_alpha_bar = self.alpha_bar(times.to(dtype)), self.alpha_bar(times[1:])
        parts = torch.stack([alpha_bar.sqrt(), (1 - alpha_bar).sqrt()], 1)
        alpha_bar = alpha_bar[:-1]
        alpha = alpha_bar / next_alpha_bar
        spread = ((1 - alpha) * (1.0 - next_alpha_bar) / (1.0 - alpha_bar)).sqrt()
        steps = [(1.0 / alpha).sqrt(), 1 - alpha, spread * (times[1:] != 0)]
        return torch.cat([parts[:-1], torch.stack(steps, 1)], 1), parts[0]


@dataclass(frozen=True, slots=True, eq=False)
class StepTable:
    """What all rows with equally many steps from one time share.

    Attributes:
        times_st: what the U-Net needs of the time before each step, (steps, t).
        factors: of the solver at each step, (steps, 5) float32. The first two, n and s, give the
            clean latent: (latent - s * prediction) / n. For cascades they are the latent's parts of
            signal and of noise. The other three are those of
            :func:`cascade_core.sampling.sampler.advance`.
        parts: of a clean latent and of noise at the first time, (2,) float32.
    """

    times_st: torch.Tensor
    factors: torch.Tensor
    parts: torch.Tensor

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        return self.times_st.nbytes + self.factors.nbytes + self.parts.nbytes

    def noised(self, latents_bchw: torch.Tensor, noise_bchw: torch.Tensor) -> torch.Tensor:
        """Return a clean latent with as much noise as belongs to the table's first time.

        The time is the one that the U-Net gets, rounded to its dtype. Without steps there is no
        noise to remove, and the latent stays as it is.

        Source: DDPMWuerstchenScheduler.add_noise, diffusers 0.42.1.
        """
        if len(self.factors) == 0:
            return latents_bchw
        signal, noise = self.parts[:, None, None, None, None]
        noised: torch.Tensor = signal * latents_bchw + noise * noise_bchw
        return noised.to(latents_bchw.dtype)


def make_step_table(unet: Unet, schedule: Schedule, steps: int, start: float = 1.0) -> StepTable:
    """Return the table of so many steps from a part of all times, 0 to 1, to 0."""
    times = schedule.times(steps, start)
    factors, parts = schedule.solver(times, unet.dtype)
    times_st = unet.time_table(to_device(times[:-1].to(unet.dtype), unet.device))
    return StepTable(times_st, to_device(factors, unet.device), to_device(parts, unet.device))


class StepTables:
    """The step tables of a stage: those used last are kept, for one thread.

    Args:
        unet: of the stage.
        schedule: of the stage.
        limit_bytes: of all kept tables together; a larger one is made for each row anew.
        limit: of their number.
    """

    def __init__(
        self,
        unet: Unet,
        schedule: Schedule,
        limit_bytes: int = STEP_TABLES_BYTES,
        limit: int = MAX_STEP_TABLES,
    ) -> None:
        self._unet = unet
        self._schedule = schedule
        self._limit_bytes = limit_bytes
        self._limit = limit
        self._kept: dict[tuple[int, float], StepTable] = {}

    def of(self, steps: int, start: float = 1.0) -> StepTable:
        """Return the table of so many steps from a time between 0 and 1 to 0."""
        key = (steps, start)
        table = self._kept.pop(key, None)
        if table is None:
            table = make_step_table(self._unet, self._schedule, *key)
        self._kept[key] = table
        while self._is_over_a_limit():
            del self._kept[next(iter(self._kept))]
        return table

    def _is_over_a_limit(self) -> bool:
        kept = self._kept.values()
        return len(kept) > self._limit or sum(table.nbytes for table in kept) > self._limit_bytes
