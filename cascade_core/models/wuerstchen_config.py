"""The values of the ``config.json`` of Würstchen's networks that shape them."""

from __future__ import annotations

from abc import ABC, abstractmethod
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

MIN_TIME_CHANNELS: Final = 4
"""With fewer the embedding of a time would divide by zero."""
_KINDS: Final = frozenset("CTA")


class _Config(ABC):
    """What both configurations have in common."""

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Self:
        """Return the values of a ``config.json``.

        Raises:
            TypeError, ValueError: no network has such values.
        """
        known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
        read = cls(**{name: value for name, value in config.items() if name in known})
        read._check()
        return read

    def arguments(self) -> dict[str, Any]:
        """Return what diffusers' class takes; it adds lists, which tuples would not fit."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }

    @abstractmethod
    def _check(self) -> None:
        """Check every value; raises ValueError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorConfig(_Config):
    """See WuerstchenPrior of diffusers, which has the same names and defaults."""

    c_in: int = 16
    c: int = 1280
    c_cond: int = 1024
    c_r: int = 64
    depth: int = 16
    nhead: int = 16

    def _check(self) -> None:
        for field in fields(self):
            check_count(field.name, getattr(self, field.name), 1, MAX_CHANNELS)
        check_count("c_r", self.c_r, MIN_TIME_CHANNELS, MAX_CHANNELS)
        check_count("depth", self.depth, 1, MAX_LAYERS)
        check_heads("nhead", self.c, self.nhead)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffNextConfig(_Config):
    """See WuerstchenDiffNeXt of diffusers, which has the same names and defaults."""

    c_in: int = 4
    c_out: int = 4
    c_r: int = 64
    patch_size: int = 2
    c_cond: int = 1024
    c_hidden: Sequence[int] = (320, 640, 1280, 1280)
    nhead: Sequence[int] = (-1, 10, 20, 20)
    blocks: Sequence[int] = (4, 4, 14, 4)
    level_config: Sequence[str] = ("CT", "CTA", "CTA", "CTA")
    inject_effnet: Sequence[bool] = (False, True, True, True)
    effnet_embd: int = 16
    clip_embd: int = 1024
    kernel_size: int = 3

    def _check(self) -> None:
        levels = len(self.c_hidden)
        check_count("the length of c_hidden", levels, 1, MAX_LAYERS)
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(field.default, tuple):
                check_count(field.name, value, 1, MAX_CHANNELS)
            elif not isinstance(value, list | tuple) or len(value) != levels:
                raise ValueError(f"{field.name} must have {levels} entries, one for each level")
        check_count("c_r", self.c_r, MIN_TIME_CHANNELS, MAX_CHANNELS)
        self._check_levels()

    def _check_levels(self) -> None:
        total = 0
        for level, kinds in enumerate(self.level_config):
            if not set(kinds) <= _KINDS:
                raise ValueError(f"level_config knows C, T and A, got {kinds!r}")
            check_count("c_hidden", self.c_hidden[level], 1, MAX_CHANNELS)
            check_count("blocks", self.blocks[level], 1, MAX_LAYERS)
            if "A" in kinds:  # other levels state -1 heads
                check_heads("nhead", self.c_hidden[level], self.nhead[level])
            total += 2 * self.blocks[level] * len(kinds)
        check_count("the number of all blocks", total, 1, MAX_BLOCKS)
