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
    """What all rows with equally many steps from one time share.

    Attributes:
        times_st: what the U-Net needs of the time before each step, (steps, t).
        factors: of the solver at each step, (steps, 5) float32: the latent's parts of signal and
            of noise, then the three of :func:`cascade_core.sampling.sampler.advance`.
    """

    times_st: torch.Tensor
    factors: torch.Tensor

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        return self.times_st.nbytes + self.factors.nbytes

    def noised(self, latents_bchw: torch.Tensor, noise_bchw: torch.Tensor) -> torch.Tensor:
        """Return a clean latent with as much noise as belongs to the table's first time.

        The time is the one that the U-Net gets, rounded to its dtype. Without steps there is no
        noise to remove, and the latent stays as it is.

        Source: DDPMWuerstchenScheduler.add_noise, diffusers 0.42.1.
        """
        if len(self.factors) == 0:
            return latents_bchw
        signal, noise = self.factors[0, :2, None, None, None, None]
        noised: torch.Tensor = signal * latents_bchw + noise * noise_bchw
        return noised.to(latents_bchw.dtype)


def make_step_table(
    unet: Unet, schedule: CosineSchedule, steps: int, start: float = 1.0
) -> StepTable:
    """Return the table of steps between evenly spaced times from ``start`` to 0."""
    times = torch.linspace(start, 0.0, steps + 1)
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
        limit: of their number.
    """

    def __init__(
        self,
        unet: Unet,
        schedule: CosineSchedule,
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
