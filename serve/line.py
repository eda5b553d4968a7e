"""The line of open jobs: how much work a job is, and who is ahead of whom.

Work is counted in passes of a U-Net over a megapixel. It only has to order jobs and to scale with
the seconds they take, which are measured; so the weight of Stage B's passes is a round number
between the published model's (1.5 of Stage C's, H100) and the demo model's (4, CPU).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cascade_core.request import GenerationRequest

STAGE_B_WEIGHT: Final = 2.0
STAGE_A_PASSES: Final = 1.0
"""One decoding by Stage A, in passes of Stage B."""
PREVIEW_WORK: Final = 0.01
"""Of Stage C: drawing a latent small for checkers. Next to nothing, but it takes a replica."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An open job in line.

    Attributes:
        user: whose turns it takes.
        work: of the whole job, see :func:`job_work`.
    """

    id: str
    user: str
    work: float
    is_running: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where a queued job stands.

    Attributes:
        position: how many jobs end before it, as far as one can tell.
        work_ahead: their work.
    """

    position: int
    work_ahead: float


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


def places(open_jobs: Iterable[Waiting]) -> dict[str, Place]:
    """Return the places of the queued jobs, as `serve.jobs.fair_queue` will take them.

    Users take turns by work: a job comes after what its user has open already, and then the
    older one first. Running jobs are ahead of all queued ones.
    """
    claimed: dict[str, float] = {}
    tagged: list[tuple[bool, float, Waiting]] = []
    for job in sorted(open_jobs, key=lambda job: job.id):
        start = claimed.get(job.user, 0.0)
        claimed[job.user] = start + job.work
        tagged.append((not job.is_running, start, job))
    tagged.sort(key=lambda entry: (entry[0], entry[1], entry[2].id))
    found, work_ahead = {}, 0.0
    for position, (is_queued, _, job) in enumerate(tagged):
        if is_queued:
            found[job.id] = Place(position, work_ahead)
        work_ahead += job.work
    return found


def _passes(guidance_scale: float) -> int:
    """Guidance runs the net once more, without the prompt."""
    return 2 if guidance_scale > 1 else 1
