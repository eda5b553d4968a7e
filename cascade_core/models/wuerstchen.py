"""Würstchen's networks: diffusers' modules behind the interface of our own.

Nothing in them looks across the rows of a batch. Only processes of Würstchen's stages import this
module: diffusers takes seconds and more than 100 MB.

Source: WuerstchenPrior and WuerstchenDiffNeXt, diffusers 0.42.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers.pipelines.deprecated.wuerstchen import modeling_wuerstchen_diffnext as diffnext
from diffusers.pipelines.deprecated.wuerstchen import modeling_wuerstchen_prior as prior
from torch import Tensor, nn

from cascade_core.models.network import Network
from cascade_core.models.wuerstchen_config import DiffNextConfig, PriorConfig


class _StockNetwork(Network):
    """A module of diffusers; the names of its weights are the module's own."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def places(self) -> dict[str, Tensor]:
        """Return where each weight of a file belongs, by its name there."""
        return {name.removeprefix("module."): one for name, one in super().places().items()}

    def time_table(self, times: Tensor) -> Tensor:
        """Return the times themselves, (steps, 1): the module embeds them at each step."""
        return times[:, None]


class PriorNetwork(_StockNetwork):
    """Predicts the noise in latents of Stage C.

    Args:
        config: of the weights that it will hold.
    """

    def __init__(self, config: PriorConfig) -> None:
        super().__init__(prior.WuerstchenPrior(**config.arguments()))
        self.config = config

    def forward(self, latents_bchw: Tensor, times_bt: Tensor, held: Sequence[Tensor]) -> Tensor:
        """Return the predicted noise, of the latents' shape.

        Args:
            latents_bchw: one row or more, in the model's dtype.
            times_bt: each row's line of its time table.
            held: each row's text states, (1, tokens, c_cond).
        """
        predicted: Tensor = self.module(latents_bchw, r=times_bt[:, 0], c=torch.cat(list(held)))
        return predicted


class DecoderNetwork(_StockNetwork):
    """Predicts the noise in latents of Stage B.

    Args:
        config: of the weights that it will hold.
    """

    def __init__(self, config: DiffNextConfig) -> None:
        super().__init__(diffnext.WuerstchenDiffNeXt(**config.arguments()))
        self.config = config

    def forward(
        self, latents_bchw: Tensor, times_bt: Tensor, held: Sequence[tuple[Tensor, Tensor]]
    ) -> Tensor:
        """Return the predicted noise, of the latents' shape.

        Args:
            latents_bchw: one row or more, in the model's dtype.
            times_bt: each row's line of its time table.
            held: each row's composition, (1, effnet_embd, h, w), and its text states,
                (1, tokens, clip_embd).
        """
        compositions, states = (torch.cat(list(parts)) for parts in zip(*held, strict=True))
        predicted: Tensor = self.module(
            latents_bchw, r=times_bt[:, 0], effnet=compositions, clip=states
        )
        return predicted
