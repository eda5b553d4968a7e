"""What all networks have in common: weights of one dtype on one device, filled from files."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn

from cascade_core.models.blocks import Attention


class Network(nn.Module):
    """A network whose weights have the names that they have in files.

    Attributes:
        unused: beginnings of the names of weights in files that it does not need.
    """

    unused: ClassVar[tuple[str, ...]] = ()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights and of all inputs."""
        return next(self.parameters()).dtype

    def fill(
        self, weights: Iterable[tuple[str, Tensor]]
    ) -> tuple[Collection[str], Collection[str]]:
        """Copy weights into the network, one after the other; each may be freed at once.

        Returns:
            The names that the network lacks weights for, and those that it does not know.

        Raises:
            ValueError: a weight has another shape.
        """
        waiting, unknown = self.places(), []
        for name, weight in weights:
            if name.startswith(self.unused):
                continue
            place = waiting.pop(name, None)
            if place is None:
                unknown.append(name)
            elif place.shape != weight.shape:
                raise ValueError(f"{name} is {tuple(weight.shape)} and not {tuple(place.shape)}")
            else:
                place.copy_(weight)
        return waiting, unknown

    def places(self) -> dict[str, Tensor]:
        """Return where each weight of a file belongs, by its name there."""
        found: dict[str, Tensor] = {name: weight.data for name, weight in self.named_parameters()}
        for prefix, module in self.named_modules():
            if isinstance(module, Attention):
                for kind in ("weight", "bias"):
                    joined = found.pop(f"{prefix}.to_qkv.{kind}")
                    names = [f"{prefix}.to_{one}.{kind}" for one in "qkv"]
                    found |= zip(names, joined.chunk(3), strict=True)
        return found
