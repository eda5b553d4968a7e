"""All stages of a family in one process: what a request means, without any service around it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.checkpoints.weights import Placement
from cascade_core.families.spec import Family
from cascade_core.images.pixels import Rgb
from cascade_core.request import GenerationRequest
from cascade_core.stages.base import DeviceStep, RequestStage

OnStep = Callable[[str, int, int], None]
"""Called when a step is done, with stage name, steps done and steps in all."""


@dataclass(frozen=True, slots=True, eq=False)
class PictureResult:
    """A finished picture.

    Attributes:
        latent: the kept hand-off, from which details can be varied; None if the family keeps none.
        pixels_hwc: (H, W, 3) uint8.
        seconds: since admission, by the name of each stage that ran.
    """

    latent: Any
    pixels_hwc: Rgb
    seconds: dict[str, float]


class CascadePipeline:
    """Runs requests one after the other through loaded stages.

    Args:
        family: in which order the stages follow each other.
        stages: by name.
    """

    def __init__(self, family: Family, stages: Mapping[str, RequestStage]) -> None:
        self.family = family
        self.stages = stages

    @classmethod
    def load(cls, checkpoint: Checkpoint, placement: Placement, family: Family) -> Self:
        """Load all stages, and the encoder if the model has one.

        Raises:
            ModelUnavailable: files are missing or wrong.
            SettingsInvalid: device or dtype cannot be used.
        """
        stages = {
            spec.name: spec.model_class().load(checkpoint, placement)
            for spec in family.stages_with(has_encoder=checkpoint.picture_encoder is not None)
        }
        return cls(family, stages)

    def run(
        self, request: GenerationRequest, latent: Any = None, on_step: OnStep | None = None
    ) -> PictureResult:
        """Make the picture of a one-image request.

        Args:
            request: its operation decides which stages run.
            latent: the kept hand-off or the stored upload that the request starts from, if any.
            on_step: told of every step.

        Raises:
            CascadeError: as the stages do.
        """
        output, seconds = latent, {}
        for spec in self.family.route(request):
            stage = self.stages[spec.name]
            task = stage.make_task(output, request)
            output, seconds[spec.name] = _run(stage, task, on_step)
            if spec.keeps_output:
                latent = output
        return PictureResult(latent, output, seconds)


def _run(stage: RequestStage, task: Any, on_step: OnStep | None) -> tuple[Any, float]:
    row = stage.admit(task)
    start_s = time.perf_counter()
    for step in _steps_done(stage, row):
        if on_step is not None:
            on_step(stage.name, step, row.steps)
    return stage.result(row), time.perf_counter() - start_s


def _steps_done(stage: RequestStage, row: Any) -> Iterator[int]:
    """Do all steps of a row; yields each when it is done, on a GPU after the next is launched."""
    in_flight: DeviceStep | None = None
    while row.step < row.steps:
        launched = stage.advance([row])
        if in_flight is not None:
            in_flight.wait()
            yield row.step - 1
        if launched is None:
            yield row.step
        in_flight = launched
    if in_flight is not None:
        in_flight.wait()
        yield row.step
