"""The U-Net of Stages C and B in three calls: once per schedule, once per request, once per step.

Nothing in it looks across the rows of a batch. Results differ from diffusers' module by rounding
alone: at most 1e-6 of their size per step in float32.

Source of the formulas: diffusers 0.42.1, models/unets/unet_stable_cascade.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from cascade_core.models.blocks import AttentionBlock, ResBlock, TimeBlock
from cascade_core.models.layers import (
    ChannelNorm,
    Double,
    Halve,
    Pointwise,
    Resize,
    channel_norm,
    channels_first,
    channels_last,
    resize,
)
from cascade_core.models.network import Network
from cascade_core.models.unet_config import UnetConfig

MAX_POSITIONS: Final = 10_000
"""Times between 0 and 1 are embedded as positions up to this one."""


@dataclass(frozen=True, slots=True, eq=False)
class HeldConditioning:
    """What stays the same in all steps of one row.

    Attributes:
        context: keys and values of all attention blocks, (1, tokens, all their channels).
        features_bhwc: added to the embedded latent; None if the model takes none.
    """

    context: Tensor
    features_bhwc: Tensor | None


def join_rows(held: Sequence[HeldConditioning]) -> tuple[Tensor, ...]:
    """Return the context of all rows and, if the model takes any, their features."""
    features = [row.features_bhwc for row in held if row.features_bhwc is not None]
    context = _join([row.context for row in held])
    return (context, _join(features)) if features else (context,)


class CascadeUnet(Network):
    """Predicts the noise in latents, as diffusers' StableCascadeUNet does.

    Args:
        config: of the weights that it will hold.
    """

    def __init__(self, config: UnetConfig) -> None:
        super().__init__()
        self.config = config
        first, pooled = config.block_out_channels[0], config.clip_text_pooled_in_channels
        patch = config.patch_size**2
        if config.effnet_in_channels is not None:
            self.effnet_mapper = _feature_mapper(config.effnet_in_channels, first)
        if config.pixel_mapper_in_channels is not None:
            self.pixels_mapper = _feature_mapper(config.pixel_mapper_in_channels, first)
        width = config.conditioning_dim
        self.clip_txt_pooled_mapper = nn.Linear(pooled, width * config.clip_seq)
        if config.clip_text_in_channels is not None:
            self.clip_txt_mapper = nn.Linear(config.clip_text_in_channels, width)
        if config.clip_image_in_channels is not None:
            self.clip_img_mapper = nn.Linear(config.clip_image_in_channels, width * config.clip_seq)
        embedding = Pointwise(config.in_channels * patch, first)
        self.embedding = nn.Sequential(nn.Identity(), embedding, ChannelNorm())
        self._build_levels()
        self.clf = nn.Sequential(ChannelNorm(), Pointwise(first, config.out_channels * patch))
        self._time_blocks = [block for block in self.modules() if isinstance(block, TimeBlock)]
        self._attention_blocks = [b for b in self.modules() if isinstance(b, AttentionBlock)]
        self._time_widths = _place(self._time_blocks, 0)
        self._context_widths = _place(self._attention_blocks, len(self._time_widths))

    def time_table(self, times: Tensor) -> Tensor:
        """Return what :meth:`forward` needs of each time, (steps, t); once per schedule.

        Args:
            times: (steps,) between 0 and 1, in the model's dtype.
        """
        channels = self.config.timestep_ratio_embedding_dim
        embeddings = [_embed_times(times, channels)]
        for _ in self.config.timestep_conditioning_type:
            embeddings.append(_embed_times(torch.zeros_like(times), channels))
        joined = torch.cat(embeddings, dim=1)
        tables = [block.table(joined) for block in self._time_blocks]
        return torch.cat([joined[:, :0], *tables], dim=1)

    def hold(
        self,
        latent_hw: tuple[int, int],
        *,
        pooled: Tensor,
        text: Tensor | None = None,
        image: Tensor | None = None,
        effnet: Tensor | None = None,
    ) -> HeldConditioning:
        """Return the conditioning of one row, or of several in training; once per request.

        Args:
            latent_hw: of the latents that will be denoised.
            pooled: (1, n, P), of the text.
            text: (1, tokens, T), read if there is an image as well.
            image: (1, n, I).
            effnet: (1, c, h, w) of any size.
        """
        embedded = self._embed_clip(pooled, text, image)
        parts = [block.keys_values(embedded) for block in self._attention_blocks]
        context = torch.cat([embedded[..., :0], *parts], dim=2)
        patch = self.config.patch_size
        hw = (latent_hw[0] // patch, latent_hw[1] // patch)
        return HeldConditioning(context, self._map_features(hw, effnet))

    def forward(
        self, latents_bchw: Tensor, times_bt: Tensor, held: Sequence[HeldConditioning]
    ) -> Tensor:
        """Return the predicted noise, of the latents' shape.

        Args:
            latents_bchw: one row or more, in the model's dtype.
            times_bt: each row's line of its time table.
            held: each row's conditioning.
        """
        return self.predict(latents_bchw, times_bt, *join_rows(held))

    def predict(
        self,
        latents_bchw: Tensor,
        times_bt: Tensor,
        context_btc: Tensor,
        features_bhwc: Tensor | None = None,
    ) -> Tensor:
        """Return the predicted noise as :meth:`forward` does.

        Args:
            latents_bchw: as of :meth:`forward`.
            times_bt: as of :meth:`forward`.
            context_btc: of all rows, see :func:`join_rows`.
            features_bhwc: of all rows; None if the model takes none.
        """
        inputs = (
            *torch.split(times_bt[:, None, None], self._time_widths, -1),
            *torch.split(context_btc, self._context_widths, -1),
        )
        patches = functional.pixel_unshuffle(latents_bchw, self.config.patch_size)
        x = self.embedding(channels_last(patches))
        if features_bhwc is not None:
            x = x + features_bhwc
        x = self._decode(self._encode(x, inputs), inputs)
        predicted = channels_first(self.clf(x))
        return functional.pixel_shuffle(predicted, self.config.patch_size)

    def _build_levels(self) -> None:
        config = self.config
        self.down_blocks, self.down_downscalers = nn.ModuleList(), nn.ModuleList()
        self.up_blocks, self.up_upscalers = nn.ModuleList(), nn.ModuleList()
        self.down_repeat_mappers, self.up_repeat_mappers = nn.ModuleList(), nn.ModuleList()
        for level in range(config.levels):
            self.down_downscalers.append(self._resampler(level - 1, level))
            count = config.down_num_layers_per_block[level]
            self.down_blocks.append(self._level(level, count, skip_channels=0))
            mappers = config.down_blocks_repeat_mappers[level] - 1
            self.down_repeat_mappers.append(self._mappers(level, mappers))
        for level in reversed(range(config.levels)):
            self.up_upscalers.append(self._resampler(level, level - 1))
            count = config.up_num_layers_per_block[::-1][level]
            channels = config.block_out_channels[level]
            skip_channels = channels if level < config.levels - 1 else 0
            self.up_blocks.append(self._level(level, count, skip_channels))
            mappers = config.up_blocks_repeat_mappers[::-1][level] - 1
            self.up_repeat_mappers.append(self._mappers(level, mappers))

    def _level(self, level: int, count: int, skip_channels: int) -> nn.ModuleList:
        """Return the blocks of a level; its very first takes the features of the way down."""
        config, blocks = self.config, nn.ModuleList()
        channels = config.block_out_channels[level]
        for kind in [kind for _ in range(count) for kind in config.block_types_per_layer[level]]:
            if kind == "SDCascadeResBlock":
                skip = 0 if len(blocks) else skip_channels
                blocks.append(ResBlock(channels, skip, config.kernel_size))
            elif kind == "SDCascadeTimestepBlock":
                time_channels = config.timestep_ratio_embedding_dim
                names = config.timestep_conditioning_type
                blocks.append(TimeBlock(channels, time_channels, names))
            elif kind == "SDCascadeAttnBlock":
                heads, context = config.num_attention_heads[level], config.conditioning_dim
                sees_itself = config.sees_itself(level)
                blocks.append(AttentionBlock(channels, context, heads, sees_itself))
            else:
                raise ValueError(f"unknown kind of block {kind!r}")
        return blocks

    def _resampler(self, source: int, target: int) -> nn.Module:
        """Return what leads from one level to a neighbour; nothing leads past the first."""
        if min(source, target) < 0:
            return nn.Identity()
        config = self.config
        channels, out_channels = (config.block_out_channels[level] for level in (source, target))
        if config.switch_level is None:
            resampler = Halve if target > source else Double
            return nn.Sequential(ChannelNorm(), resampler(channels, out_channels))
        is_scaled = config.switch_level[min(source, target)]
        is_up = target < source
        return nn.Sequential(ChannelNorm(), Resize(channels, out_channels, is_up, is_scaled))

    def _mappers(self, level: int, count: int) -> nn.ModuleList:
        channels = self.config.block_out_channels[level]
        return nn.ModuleList([Pointwise(channels, channels) for _ in range(count)])

    def _encode(self, x: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Return the features of every level on the way down, the coarsest first."""
        outputs: list[Tensor] = []
        levels = zip(self.down_blocks, self.down_downscalers, self.down_repeat_mappers, strict=True)
        for blocks, downscaler, mappers in levels:
            x = _run_level(blocks, mappers, downscaler(x), inputs)
            outputs.insert(0, x)
        return outputs

    def _decode(self, outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> Tensor:
        """Return the features of the way up, with those of the way down where both meet."""
        x = outputs[0]
        levels = zip(self.up_blocks, self.up_upscalers, self.up_repeat_mappers, strict=True)
        for number, (blocks, upscaler, mappers) in enumerate(levels):
            skip = outputs[number] if number else None
            x = upscaler(_run_level(blocks, mappers, x, inputs, skip))
        return x

    def _embed_clip(self, pooled: Tensor, text: Tensor | None, image: Tensor | None) -> Tensor:
        width = self.config.conditioning_dim
        parts = [self.clip_txt_pooled_mapper(pooled).view(len(pooled), -1, width)]
        # As diffusers does it: the text counts only beside an image.
        if text is not None and image is not None:
            image_part = self.clip_img_mapper(image).view(len(image), -1, width)
            parts = [self.clip_txt_mapper(text), *parts, image_part]
        return channel_norm(torch.cat(parts, dim=1))

    def _map_features(self, hw: tuple[int, int], effnet: Tensor | None) -> Tensor | None:
        features: Tensor | None = None
        if self.config.effnet_in_channels is not None and effnet is not None:
            features = self.effnet_mapper(resize(effnet.permute(0, 2, 3, 1), hw))
        if self.config.pixel_mapper_in_channels is not None:
            # Pixels were an input of the training alone; zeros stand for none.
            channels = self.config.pixel_mapper_in_channels
            none = torch.zeros(1, 8, 8, channels, device=self.device, dtype=self.dtype)
            pixels = resize(self.pixels_mapper(none), hw)
            features = pixels if features is None else features + pixels
        return features


def _feature_mapper(channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        Pointwise(channels, out_channels * 4),
        nn.GELU(),
        Pointwise(out_channels * 4, out_channels),
        ChannelNorm(),
    )


def _place(blocks: Sequence[Any], first: int) -> list[int]:
    """Give each block the place of its two inputs; return their widths, block after block."""
    for number, block in enumerate(blocks):
        block.reads = slice(first + 2 * number, first + 2 * number + 2)
    return [block.channels for block in blocks for _ in range(2)]


def _run_level(
    blocks: Any,
    mappers: Any,
    x: Tensor,
    inputs: Sequence[Tensor],
    skip: Tensor | None = None,
) -> Tensor:
    """Run the blocks of a level once more than there are mappers, which come between."""
    for turn in range(len(mappers) + 1):
        for number, block in enumerate(blocks):
            x = block(x, inputs[block.reads], None if number else skip)
        if turn < len(mappers):
            x = mappers[turn](x)
    return x


def _embed_times(times: Tensor, channels: int) -> Tensor:
    half = channels // 2
    exponents = torch.arange(half, device=times.device).float()
    frequencies = exponents.mul(-math.log(MAX_POSITIONS) / (half - 1)).exp()
    angles = (times * MAX_POSITIONS)[:, None] * frequencies
    embedded = torch.cat([angles.sin(), angles.cos()], dim=1)
    return functional.pad(embedded, (0, channels % 2)).to(times.dtype)


def _join(rows: Sequence[Tensor]) -> Tensor:
    return rows[0] if len(rows) == 1 else torch.cat(list(rows))
