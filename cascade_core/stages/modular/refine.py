"""The second stage of SDXL: a refiner draws details on finished latents.

It adds noise to them and takes it off again (SDEdit), as the paper does it (SDXL, arXiv 2307.01952,
section 2.5). The other way, in which the base stops early, draws nothing of its own: its details
would not depend on ``decoder_seed``, and the stored latent would be an unfinished one.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final

import torch

from cascade_core.request import GenerationRequest
from cascade_core.stages.modular.loop import LoopRow
from cascade_core.stages.modular.loop_stage import LoopStage, small_request
from cascade_core.stages.modular.recipes import REFINING
from cascade_core.stages.tensors import from_handoff
from cascade_core.tensor_handoff import NamedTensors

REFINED_PART: Final = 0.3
"""The part of the refiner's schedule that runs; the default of diffusers' image-to-image SDXL."""
_SOURCE: Final = "d"


@dataclass(frozen=True, slots=True, eq=False)
class RefineTask:
    """The latents to refine, and the request that says how."""

    latent: NamedTensors
    request: GenerationRequest


class ModularRefine(LoopStage):
    """Draws details from ``decoder_seed`` in ``decoder_steps`` steps."""

    name = "r"
    recipes = REFINING

    @staticmethod
    def make_task(source: NamedTensors, request: GenerationRequest) -> RefineTask:
        """Return the latents with the request."""
        return RefineTask(source, request)

    def admit(self, task: RefineTask) -> LoopRow:
        """Encode the texts and add noise to the latents.

        Raises:
            ModelMismatch: other weights made them.
            HandoffInvalid: they are of another stage or size.
        """
        self._check_source(task.latent, _SOURCE, task.request)
        latents = from_handoff(task.latent.tensor("latents"), self._device, torch.float32)
        return self._begin(task.request, latents)

    def small_row(self) -> LoopRow:
        """Return a row of the smallest picture; see :meth:`LoopStage.small_row`."""
        request = small_request()
        shape = self._loop.latents_shape(request.height, request.width)
        return self._begin(request, torch.zeros(shape, device=self._device))

    def _begin(self, request: GenerationRequest, latents_bchw: torch.Tensor) -> LoopRow:
        return self._loop.begin(
            request,
            request.decoder_seed,
            request.decoder_guidance_scale,
            image_latents=latents_bchw,
            strength=REFINED_PART,
            # Of so many steps the last decoder_steps run.
            num_inference_steps=ceil(request.decoder_steps / REFINED_PART),
        )
