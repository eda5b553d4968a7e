"""Two stages that know one colour for each seed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from cascade_core.images.pixels import Rgb
from cascade_core.request import GenerationRequest
from cascade_core.stages.base import StageDefaults
from serve.stages.replica import PROGRESS_INTERVAL_S


@dataclass(frozen=True)
class Colour:
    """The hand-off."""

    rgb: bytes

    def encode(self) -> bytes:
        return self.rgb

    @classmethod
    def decode(cls, data: bytes) -> Self:
        return cls(data)


@dataclass
class ColourRow:
    """A colour on its way through a stage."""

    colour: Colour
    request: GenerationRequest
    step: int = 0
    steps: int = 1
    bucket: tuple[int, ...] = (1,)


class _Stage(StageDefaults):
    @classmethod
    def load(cls, *_: Any, **__: Any) -> Self:
        return cls()

    def admit(self, task: ColourRow) -> ColourRow:
        return task

    def advance(self, rows: Sequence[ColourRow]) -> None:
        time.sleep(PROGRESS_INTERVAL_S)  # quicker steps are not reported
        for row in rows:
            row.step += 1

    def preview(self, row: ColourRow) -> None:
        return None

    def warm_up(self) -> None:
        return None

    def free_memory(self) -> None:
        return None


class Choose(_Stage):
    """Takes the colour from the seed."""

    name = "choose"

    @staticmethod
    def make_task(_source: None, request: GenerationRequest) -> ColourRow:
        return ColourRow(Colour(request.seed.to_bytes(4)[1:]), request)

    def result(self, row: ColourRow) -> Colour:
        return row.colour


class Paint(_Stage):
    """Fills the picture with it."""

    name = "paint"

    @staticmethod
    def make_task(source: Colour, request: GenerationRequest) -> ColourRow:
        return ColourRow(source, request)

    def result(self, row: ColourRow) -> Rgb:
        colour = np.frombuffer(row.colour.rgb, np.uint8)
        return np.broadcast_to(colour, (row.request.height, row.request.width, 3)).copy()
