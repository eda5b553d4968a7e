"""What all networks have in common: weights of one dtype on one device, filled from files."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn

from cascade_core.models.blocks import Attention


class Network(nn.Module):
    """A network; its weights have the names that they have in files.

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

    def compare(self, names: Iterable[str]) -> tuple[Collection[str], Collection[str]]:
        """Return which weights the names lack, and which names the network does not know."""
        lacking, unknown = self.places(), []
        for name in names:
            if not name.startswith(self.unused) and lacking.pop(name, None) is None:
                unknown.append(name)
        return lacking.keys(), unknown

    def fill(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Copy weights into the network, one after the other; each may be freed at once.

        Args:
            weights: by the names that :meth:`compare` found no fault with.

        Raises:
            ValueError: a weight has another shape, or holds no floating-point numbers.
        """
        places = self.places()
        for name, weight in weights:
            if name.startswith(self.unused):
                continue
            place = places[name]
            if place.shape != weight.shape:
                raise ValueError(f"{name} is {tuple(weight.shape)} and not {tuple(place.shape)}")
            # copy_ would take integers as they are; the norms count their batches in integers.
            if place.is_floating_point() and not weight.is_floating_point():
                raise ValueError(f"{name} holds {weight.dtype} and no floating-point numbers")
            place.copy_(weight)

    def places(self) -> dict[str, Tensor]:
        """Return where each weight of a file belongs, by its name there."""
        found: dict[str, Tensor] = {name: weight.data for name, weight in self.named_parameters()}
        found |= self.named_buffers()
        for prefix, module in self.named_modules():
            if isinstance(module, Attention):
                for kind in ("weight", "bias"):
                    joined = found.pop(f"{prefix}.to_qkv.{kind}")
                    names = [f"{prefix}.to_{one}.{kind}" for one in "qkv"]
                    found |= zip(names, joined.chunk(3), strict=True)
        return found
