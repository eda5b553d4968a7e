"""The meaning of a scene as maps: targets that teach the compressor what a latent must keep."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from recipe.device import tensor_of
from recipe.scenes.render import accent_rgb, base_rgb
from recipe.scenes.scene import COLOUR_NAMES, SHAPES, TEXTURES, Scene

ACCENT_SHARE: Final = {"plain": 0.0, "striped": 0.5, "dotted": 0.31, "checkered": 0.5}

_GROUPS: Final = [3, 1, len(SHAPES), len(COLOUR_NAMES), len(TEXTURES)]
MAP_CHANNELS: Final = sum(_GROUPS)


@dataclass(frozen=True, slots=True)
class Meaning:
    """The maps that the decoder must paint: mean colour and, inside a thing, its classes.

    Shapes: rgb (B, 3, 32, 32) and inside (B, 1, 32, 32) in [0, 1]; the class maps
    (B, 32, 32) hold class numbers and count only where `inside` is high.
    """

    rgb: Tensor
    inside: Tensor
    shape: Tensor
    colour: Tensor
    texture: Tensor


class MeaningTable:
    """Scene attributes as arrays, to paint `Meaning` maps of any scenes quickly."""

    def __init__(self, scenes: list[Scene], masks: NDArray[np.uint8]) -> None:
        """Read the scenes; `masks` is uint8 (n, 2, 64, 64)."""
        self.masks = masks
        self.background = torch.tensor(np.stack([base_rgb(s.background) for s in scenes]))
        self.rgb = torch.zeros(len(scenes), 2, 3)
        self.classes = torch.zeros(3, len(scenes), 2, dtype=torch.long)
        for row, scene in enumerate(scenes):
            for slot, thing in enumerate(scene.things):
                base, share = base_rgb(thing.colour), ACCENT_SHARE[thing.texture]
                mean = base * (1 - share) + accent_rgb(base) * share
                self.rgb[row, slot] = tensor_of(mean)
                self.classes[0, row, slot] = SHAPES.index(thing.shape)
                self.classes[1, row, slot] = COLOUR_NAMES.index(thing.colour)
                self.classes[2, row, slot] = TEXTURES.index(thing.texture)

    def coverage(self, rows: NDArray[np.int64]) -> Tensor:
        """Return how much of each position each thing covers (B, 2, 64, 64)."""
        return tensor_of(self.masks[rows]).float() / 255

    def mean_colour(self, rows: NDArray[np.int64], masks: Tensor) -> tuple[Tensor, Tensor]:
        """Paint scenes in flat colours: rgb (B, 3, H, W) and inside (B, 1, H, W)."""
        inside = masks.sum(1, keepdim=True).clamp(max=1)
        things = torch.einsum("bkhw,bkc->bchw", masks, self.rgb[rows])
        return self.background[rows][:, :, None, None] * (1 - inside) + things, inside

    def __call__(self, rows: NDArray[np.int64]) -> Meaning:
        """Paint the maps of these scenes."""
        masks = functional.avg_pool2d(self.coverage(rows), 2)
        rgb, inside = self.mean_colour(rows, masks)
        return Meaning(rgb, inside, *self.class_maps(rows, masks))

    def class_maps(self, rows: NDArray[np.int64], masks: Tensor) -> list[Tensor]:
        """Shape, colour and texture (B, H, W) of the thing at or nearest to each position."""
        owner = masks.argmax(1)
        return [
            torch.where(owner == 0, kind[rows, 0][:, None, None], kind[rows, 1][:, None, None])
            for kind in self.classes
        ]


def flat_loss(rgb: Tensor, logits: Tensor, true_rgb: Tensor, inside: Tensor) -> Tensor:
    """Errors (B, 1, H, W) of mean colour and of outline, which count more at the outline."""
    grown = functional.max_pool2d(inside, 3, 1, 1)
    edge = grown + functional.max_pool2d(-inside, 3, 1, 1)
    colour = (rgb - true_rgb).square().mean(1, keepdim=True)
    outline = functional.binary_cross_entropy_with_logits(logits, inside, reduction="none")
    return (10 * colour + outline) * (1 + 2 * inside + 3 * edge)


def meaning_loss(maps: Tensor, meaning: Meaning) -> Tensor:
    """Colour and outline errors everywhere, class errors inside the things."""
    rgb, inside, *classes = torch.split(maps, _GROUPS, 1)
    flat_error = flat_loss(rgb, inside, meaning.rgb, meaning.inside).mean()
    targets = (meaning.shape, meaning.colour, meaning.texture)
    share = meaning.inside[:, 0] / meaning.inside.mean()
    class_errors = [
        (functional.cross_entropy(logits, target, reduction="none") * share).mean()
        for logits, target in zip(classes, targets, strict=True)
    ]
    return flat_error + 0.3 * sum(class_errors, torch.zeros(()))


def summarise(maps: Tensor, meaning: Meaning) -> str:
    """Describe how much of the meaning the decoder reads: outline overlap, class accuracy."""
    _, inside, *classes = torch.split(maps, _GROUPS, 1)
    found, true = inside[:, 0] > 0, meaning.inside[:, 0] > 0.5
    overlap = (found & true).sum() / (found | true).sum()
    right = [
        f"{(logits.argmax(1) == target)[true].float().mean():.3f}"
        for logits, target in zip(
            classes, (meaning.shape, meaning.colour, meaning.texture), strict=True
        )
    ]
    return f"outline IoU {overlap:.3f}, shape/colour/texture per pixel {' '.join(right)}"
