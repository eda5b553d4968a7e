"""The values of a U-Net's ``config.json`` that shape it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self


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
            TypeError, ValueError: lists of other lengths than there are levels.
        """
        known = {field.name for field in fields(cls)}
        read = cls(**{name: value for name, value in config.items() if name in known})
        for name in (
            "num_attention_heads",
            "down_num_layers_per_block",
            "up_num_layers_per_block",
            "down_blocks_repeat_mappers",
            "up_blocks_repeat_mappers",
            "block_types_per_layer",
        ):
            if len(getattr(read, name)) != read.levels:
                raise ValueError(f"{name} must have {read.levels} entries, one for each level")
        return read

    @property
    def levels(self) -> int:
        """How many resolutions there are."""
        return len(self.block_out_channels)

    def sees_itself(self, level: int) -> bool:
        """Return True if the attention of a level sees the level's own positions."""
        return self.self_attn if isinstance(self.self_attn, bool) else self.self_attn[level]
