"""The random numbers of one row: drawn on the CPU, in diffusers' order, from its own seed.

They depend on the request and the model's dtype alone, not on neighbours in a batch, the replica or
the device. Source: DDPMWuerstchenScheduler.step and prepare_latents, diffusers 0.42.1: one draw for
the initial latent, then one per step, the last one included although it is not used.
"""

from __future__ import annotations

import torch


class NoiseStream:
    """Normal draws of one latent shape from one seed.

    Args:
        seed: as given to ``torch.Generator("cpu").manual_seed``.
        shape_bchw: shape of every draw; b is 1.
        dtype: the model's dtype; drawing in float32 and casting would give other numbers.
    """

    def __init__(self, seed: int, shape_bchw: tuple[int, ...], dtype: torch.dtype) -> None:
        self._generator = torch.Generator("cpu").manual_seed(seed)
        self._shape_bchw = shape_bchw
        self._dtype = dtype
        self._next: torch.Tensor | None = None

    def peek(self) -> torch.Tensor:
        """Return the next draw; the same one until :meth:`advance`, so a failed step can repeat."""
        if self._next is None:
            self._next = torch.randn(
                self._shape_bchw, generator=self._generator, device="cpu", dtype=self._dtype
            )
        return self._next

    def advance(self) -> None:
        """Move on to the next draw."""
        self.peek()
        self._next = None

    def draw(self) -> torch.Tensor:
        """Return the next draw and move on."""
        noise = self.peek()
        self.advance()
        return noise
