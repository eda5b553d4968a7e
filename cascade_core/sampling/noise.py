"""The random numbers of one row: drawn on the CPU, in diffusers' order, from its own seed.

They depend on the request and the model's dtype alone, not on neighbours in a batch, the replica or
the device. They are drawn ahead and lie on the model's device, so that a step waits for no copy.

Source: DDPMWuerstchenScheduler.step and prepare_latents, diffusers 0.42.1: one draw for the initial
latent, then one per step, the last one included although it is not used.
"""

from __future__ import annotations

from math import prod
from typing import Final, Protocol

import torch

BLOCK_BYTES: Final = 16 * 2**20
"""Most memory of the draws that a row has ahead. A picture of 1024x1024 px with 10 steps of Stage B
needs 11 draws of 1 MB in float32, and so one block; one of 2048x2048 px, 4 MB for each draw."""


class Noise(Protocol):
    """The draws that are left for a row's steps."""

    def peek(self) -> torch.Tensor:
        """Return the next draw, (1, c, h, w)."""

    def advance(self) -> None:
        """Move on to the next draw."""


class NoNoise:
    """Zeros in place of draws, for a solver that adds no noise.

    Args:
        like_bchw: has their shape, dtype and device.
    """

    def __init__(self, like_bchw: torch.Tensor) -> None:
        self._zeros_bchw = torch.zeros_like(like_bchw)

    def peek(self) -> torch.Tensor:
        """Return zeros."""
        return self._zeros_bchw

    def advance(self) -> None:
        """Stay."""


class NoiseStream:
    """Normal draws of one latent shape from one seed, on the model's device.

    The draws are made in blocks: the first at once, a later one when the block before is used up.
    A block is copied to a CUDA device from pinned memory, and nothing waits for that copy.

    Args:
        seed: as given to ``torch.Generator("cpu").manual_seed``.
        shape_bchw: shape of every draw; b is 1.
        dtype: the model's dtype; drawing in float32 and casting would give other numbers.
        device: where the draws are needed.
        draws: how many are needed.
    """

    def __init__(
        self,
        seed: int,
        shape_bchw: tuple[int, ...],
        dtype: torch.dtype,
        device: torch.device,
        draws: int,
    ) -> None:
        self._generator = torch.Generator("cpu").manual_seed(seed)
        self._shape_chw = shape_bchw[1:]
        self._dtype = dtype
        self._device = device
        self._undrawn = draws
        self._block_bchw = self._draw_block()
        self._next = 0

    def peek(self) -> torch.Tensor:
        """Return the next draw; the same one until :meth:`advance`, so a failed step can repeat."""
        if self._next == len(self._block_bchw):
            self._block_bchw, self._next = self._draw_block(), 0
        return self._block_bchw[self._next : self._next + 1]

    def advance(self) -> None:
        """Move on to the next draw."""
        self.peek()
        self._next += 1

    def draw(self) -> torch.Tensor:
        """Return the next draw and move on."""
        noise = self.peek()
        self.advance()
        return noise

    def _draw_block(self) -> torch.Tensor:
        draw_bytes = prod(self._shape_chw) * self._dtype.itemsize
        count = min(self._undrawn, max(1, BLOCK_BYTES // draw_bytes))
        shape_bchw, is_cuda = (count, *self._shape_chw), self._device.type == "cuda"
        # All memory comes first: a step that finds none repeats, and must draw the same numbers.
        block = drawn = torch.empty(shape_bchw, dtype=self._dtype, device="cpu", pin_memory=is_cuda)
        if self._device.type != "cpu":
            block = torch.empty(shape_bchw, dtype=self._dtype, device=self._device)
        for draw in drawn:
            draw.normal_(generator=self._generator)
        self._undrawn -= count
        return block if block is drawn else block.copy_(drawn, non_blocking=True)
