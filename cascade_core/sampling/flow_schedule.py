"""The straight way from noise to a latent, which a flow-matching net follows.

At time t a latent is (1 - t) clean + t noise. The net predicts noise - clean, the direction in
which the latent moves as t grows; a step of Euler's method goes against it.

Source: FlowMatchEulerDiscreteScheduler, diffusers 0.42.1; arXiv:2209.03003.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class FlowSchedule:
    """See :class:`cascade_core.sampling.step_tables.Schedule`.

    Attributes:
        shift: more than 1 puts more of the steps near pure noise; of ``scheduler_config.json``.
    """

    shift: float = 1.0

    def times(self, steps: int, start: float) -> torch.Tensor:
        """Return shifted times to 0, (steps + 1,); even before the shift."""
        even = torch.linspace(start, 0.0, steps + 1)
        return self.shift * even / (1 + (self.shift - 1) * even)

    def solver(self, times: torch.Tensor, _dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the factors of each step and the parts at the first time.

        Rounded times would add up to another length than that of the whole way, so the solver's are
        exact.
        """
        now, following = times[:-1], times[1:]
        one, none = torch.ones_like(now), torch.zeros_like(now)
        factors = [one, now, one, now * (now - following), none]
        return torch.stack(factors, 1), torch.stack([1 - times[0], times[0]])
