"""The values of a U-Net's ``config.json`` that shape it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Self

from cascade_core.models.limits import (
    MAX_BLOCKS,
    MAX_CHANNELS,
    MAX_LAYERS,
    check_count,
    check_heads,
)

MAX_CONDITIONS: Final = 16

_WIDTHS: Final = (
    "in_channels",
    "out_channels",
    "timestep_ratio_embedding_dim",
    "patch_size",
    "conditioning_dim",
    "clip_text_pooled_in_channels",
    "clip_seq",
    "kernel_size",
)
_WIDTHS_OR_NONE: Final = (
    "clip_text_in_channels",
    "clip_image_in_channels",
    "effnet_in_channels",
    "pixel_mapper_in_channels",
)
_LAYERS: Final = (
    "down_num_layers_per_block",
    "up_num_layers_per_block",
    "down_blocks_repeat_mappers",
    "up_blocks_repeat_mappers",
)
_PER_LEVEL: Final = ("num_attention_heads", "block_types_per_layer", *_LAYERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnetConfig:
    """See StableCascadeUNet of diffusers, which has the same names and defaults."""

    in_channels: int = 16
    out_channels: int = 16
    timestep_ratio_embedding_dim: int = 64
    patch_size: int = 1
    conditioning_dim: int = 2048
    block_out_channels: Sequence[int] = (2048, 2048)
    num_attention_heads: Sequence[int] = (32, 32)
    down_num_layers_per_block: Sequence[int] = (8, 24)
    up_num_layers_per_block: Sequence[int] = (24, 8)
    down_blocks_repeat_mappers: Sequence[int] = (1, 1)
    up_blocks_repeat_mappers: Sequence[int] = (1, 1)
    block_types_per_layer: Sequence[Sequence[str]] = (
        ("SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock"),
    ) * 2
    clip_text_in_channels: int | None = None
    clip_text_pooled_in_channels: int = 1280
    clip_image_in_channels: int | None = None
    clip_seq: int = 4
    effnet_in_channels: int | None = None
    pixel_mapper_in_channels: int | None = None
    kernel_size: int = 3
    self_attn: bool | Sequence[bool] = True
    timestep_conditioning_type: Sequence[str] = ("sca", "crp")
    switch_level: Sequence[bool] | None = None

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Self:
        """Return the values of a ``config.json``.

        Raises:
            TypeError, ValueError: no network has such values.
        """
        known = {field.name for field in fields(cls)}
        read = cls(**{name: value for name, value in config.items() if name in known})
        read._check_widths()
        read._check_lengths()
        read._check_levels()
        return read

    def _check_widths(self) -> None:
        for name in _WIDTHS:
            check_count(name, getattr(self, name), 1, MAX_CHANNELS)
        for name in _WIDTHS_OR_NONE:
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name), 1, MAX_CHANNELS)
        for channels in self.block_out_channels:
            check_count("block_out_channels", channels, 1, MAX_CHANNELS)

    def _check_lengths(self) -> None:
        check_count("the length of block_out_channels", self.levels, 1, MAX_LAYERS)
        conditions = len(self.timestep_conditioning_type)
        check_count("the length of timestep_conditioning_type", conditions, 0, MAX_CONDITIONS)
        for name in _PER_LEVEL:
            if len(getattr(self, name)) != self.levels:
                raise ValueError(f"{name} must have {self.levels} entries, one for each level")
        if not isinstance(self.self_attn, bool) and len(self.self_attn) != self.levels:
            raise ValueError(f"self_attn must be one value or {self.levels}, one for each level")
        if self.switch_level is not None and len(self.switch_level) != self.levels - 1:
            raise ValueError(f"switch_level must have {self.levels - 1} entries")

    def _check_levels(self) -> None:
        blocks = 0
        for name in _LAYERS:
            for count in getattr(self, name):
                check_count(name, count, 0, MAX_LAYERS)
        for level, kinds in enumerate(self.block_types_per_layer):
            if "SDCascadeAttnBlock" in kinds:  # other levels state 0 or -1 heads
                channels, heads = self.block_out_channels[level], self.num_attention_heads[level]
                check_heads("num_attention_heads", channels, heads)
            layers = (
                self.down_num_layers_per_block[level] + self.up_num_layers_per_block[-1 - level]
            )
            blocks += layers * len(kinds)
        check_count("the number of all blocks", blocks, 0, MAX_BLOCKS)

    @property
    def levels(self) -> int:
        """How many resolutions there are."""
        return len(self.block_out_channels)

    def sees_itself(self, level: int) -> bool:
        """Return True if the attention of a level sees the level's own positions."""
        return self.self_attn if isinstance(self.self_attn, bool) else self.self_attn[level]
