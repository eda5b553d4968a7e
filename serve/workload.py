"""How much work a job is, at each stage and in all.

Work is counted in passes of a U-Net over a megapixel. It only has to order jobs and to scale with
the seconds they take, which are measured; so the weight of Stage B's passes is a round number
between the published model's (1.5 of Stage C's, H100) and the demo model's (4, CPU).
"""

from __future__ import annotations

from typing import Final

from cascade_core.request import GenerationRequest

STAGE_B_WEIGHT: Final = 2.0
STAGE_A_PASSES: Final = 1.0
"""One decoding by Stage A, in passes of Stage B."""
PREVIEW_WORK: Final = 0.01
"""The work of Stage C to draw a latent's preview for checkers: very little, but it needs a
replica."""


def stage_work(stage: str, request: GenerationRequest) -> float:
    """Return the work of one image at stage ``c``, ``b`` or ``a``."""
    megapixels = request.width * request.height / 1e6
    if stage == "c":
        return megapixels * request.steps * _passes(request.guidance_scale)
    if stage == "b":
        passes = request.decoder_steps * _passes(request.decoder_guidance_scale)
        return STAGE_B_WEIGHT * megapixels * passes
    return STAGE_B_WEIGHT * megapixels * STAGE_A_PASSES


def stages_of(request: GenerationRequest) -> str:
    """Return the stages that each image of a job passes, in order."""
    return "cba" if request.kind == "generate" else "ba"


def job_work(request: GenerationRequest) -> float:
    """Return the work of all images of a job at all stages that it passes."""
    return request.n * sum(stage_work(stage, request) for stage in stages_of(request))


def _passes(guidance_scale: float) -> int:
    """Return the passes of one step: guidance adds one without the prompt."""
    return 2 if guidance_scale > 1 else 1
