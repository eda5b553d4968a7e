"""Which of diffusers' blocks make the pictures of a family, and what they are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cascade_core.checkpoints.diffusers_files import PRIOR
from cascade_core.errors import ModelUnavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The blocks of one diffusion stage, and of the decoding after it.

    Attributes:
        blocks: a class of diffusers whose sub-blocks are a whole pipeline.
        triggers: the inputs by which its blocks for one kind of task are chosen.
        prefix: of the names of the stage's components in the checkpoint.
        clip: how the names of a CLIP text encoder and its tokenizer end, if nothing else reads the
            prompts; None: they are read whole.
    """

    blocks: str
    triggers: Mapping[str, bool] = field(default_factory=lambda: {"prompt": True})
    prefix: str = ""
    clip: str | None = None


_SDXL: Final = "StableDiffusionXLAutoBlocks"
DENOISING: Final[Mapping[str, Recipe]] = {
    "sdxl": Recipe(blocks=_SDXL, clip=""),
    "sdxl_refiner": Recipe(blocks=_SDXL, prefix=PRIOR, clip=""),
    "sd3": Recipe(blocks="StableDiffusion3AutoBlocks"),
    "z_image": Recipe(blocks="ZImageAutoBlocks"),
    "flux2_klein": Recipe(blocks="Flux2KleinAutoBlocks"),
    "qwen_image": Recipe(blocks="QwenImageAutoBlocks"),
}
"""By family, the blocks that make its latents."""
REFINING: Final[Mapping[str, Recipe]] = {
    "sdxl_refiner": Recipe(
        blocks=_SDXL, triggers={"prompt": True, "image_latents": True}, clip="_2"
    ),
}
"""By family, the blocks that draw details on its latents."""


def recipe_of(family: str, recipes: Mapping[str, Recipe] = DENOISING) -> Recipe:
    """Return the recipe of a family.

    Raises:
        ModelUnavailable: it has none.
    """
    if family not in recipes:
        raise ModelUnavailable(f"models of the family {family} do not run on modular blocks")
    return recipes[family]
