"""Fills a network with weights that have diffusers' names."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from torch import Tensor, nn

from cascade_core.models.blocks import Attention


def fill(
    model: nn.Module, weights: Iterable[tuple[str, Tensor]]
) -> tuple[Collection[str], Collection[str]]:
    """Copy weights into a network, one after the other; each may be freed at once.

    Returns:
        The names that the network lacks weights for, and those that it does not know.

    Raises:
        ValueError: a weight has another shape.
    """
    waiting, unknown = places(model), []
    for name, weight in weights:
        place = waiting.pop(name, None)
        if place is None:
            unknown.append(name)
        elif place.shape != weight.shape:
            raise ValueError(f"{name} is {tuple(weight.shape)} and not {tuple(place.shape)}")
        else:
            place.copy_(weight)
    return waiting, unknown


def places(model: nn.Module) -> dict[str, Tensor]:
    """Return where each weight of a file belongs, by its name there."""
    found: dict[str, Tensor] = {name: weight.data for name, weight in model.named_parameters()}
    for prefix, module in model.named_modules():
        if isinstance(module, Attention):
            for kind in ("weight", "bias"):
                joined = found.pop(f"{prefix}.to_qkv.{kind}")
                names = [f"{prefix}.to_{one}.{kind}" for one in "qkv"]
                found |= zip(names, joined.chunk(3), strict=True)
    return found
