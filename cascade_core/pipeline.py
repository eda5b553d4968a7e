"""C, B and A in one process: what a request means, without any service around it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, TypeVar

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.checkpoints.weights import Placement
from cascade_core.handoff import StageCLatent
from cascade_core.request import GenerationRequest
from cascade_core.stages.base import Rgb, Row, Stage
from cascade_core.stages.stage_a import StageA
from cascade_core.stages.stage_b import StageB, StageBTask
from cascade_core.stages.stage_c import StageC

OnStep = Callable[[str, int, int], None]
"""Called after every step with stage name, steps done and steps in all."""

_TaskT = TypeVar("_TaskT")
_RowT = TypeVar("_RowT", bound=Row)
_ResultT = TypeVar("_ResultT")


@dataclass(frozen=True, slots=True, eq=False)
class PictureResult:
    """A finished picture.

    Attributes:
        latent: Stage C's latent, from which details can be varied.
        pixels_hwc: (H, W, 3) uint8.
        seconds: by the name of each stage that ran.
    """

    latent: StageCLatent
    pixels_hwc: Rgb
    seconds: dict[str, float]


class CascadePipeline:
    """Runs requests one after the other through three loaded stages."""

    def __init__(self, stage_c: StageC, stage_b: StageB, stage_a: StageA) -> None:
        self.stage_c = stage_c
        self.stage_b = stage_b
        self.stage_a = stage_a

    @classmethod
    def load(cls, checkpoint: Checkpoint, placement: Placement) -> Self:
        """Load all three stages.

        Raises:
            ModelUnavailable: files are missing or wrong.
            SettingsInvalid: device or dtype cannot be used.
        """
        return cls(
            StageC.load(checkpoint, placement),
            StageB.load(checkpoint, placement),
            StageA.load(checkpoint, placement),
        )

    def generate(self, request: GenerationRequest, on_step: OnStep | None = None) -> PictureResult:
        """Make the picture of a one-image request.

        Raises:
            CascadeError: as the stages do.
        """
        latent, seconds = _run(self.stage_c, request, on_step)
        return self._finish(latent, request, {self.stage_c.name: seconds}, on_step)

    def vary(
        self, latent: StageCLatent, request: GenerationRequest, on_step: OnStep | None = None
    ) -> PictureResult:
        """Make another picture of the same composition, with the request's ``decoder_*`` values.

        Raises:
            CascadeError: as the stages do.
        """
        return self._finish(latent, request, {}, on_step)

    def _finish(
        self,
        latent: StageCLatent,
        request: GenerationRequest,
        seconds: dict[str, float],
        on_step: OnStep | None,
    ) -> PictureResult:
        stage_b_latent, seconds_b = _run(self.stage_b, StageBTask(latent, request), on_step)
        pixels_hwc, seconds_a = _run(self.stage_a, stage_b_latent, on_step)
        seconds = seconds | {self.stage_b.name: seconds_b, self.stage_a.name: seconds_a}
        return PictureResult(latent, pixels_hwc, seconds)


def _run(
    stage: Stage[_TaskT, _RowT, _ResultT], task: _TaskT, on_step: OnStep | None
) -> tuple[_ResultT, float]:
    start_s = time.perf_counter()
    row = stage.admit(task)
    while row.step < row.steps:
        stage.advance([row])
        if on_step is not None:
            on_step(stage.name, row.step, row.steps)
    return stage.result(row), time.perf_counter() - start_s
