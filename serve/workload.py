"""How much work a job is: the loaded family's formulas, by the names of its stages."""

from __future__ import annotations

from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.request import GenerationRequest


def stage_work(stage: str, request: GenerationRequest) -> float:
    """Return the work of one image at a stage."""
    return STABLE_CASCADE.stage(stage).work(request)


def stages_of(request: GenerationRequest) -> str:
    """Return the stages that each image of a job passes, in order."""
    return "".join(stage.name for stage in STABLE_CASCADE.route(request))


def job_work(request: GenerationRequest) -> float:
    """Return the work of all images of a job at all stages that it passes."""
    return STABLE_CASCADE.work(request)
