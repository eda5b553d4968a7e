"""The first stage of a modular model: turns a prompt into latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from cascade_core.errors import HandoffInvalid, Unsupported
from cascade_core.images.pixels import Rgb
from cascade_core.request import GenerationRequest
from cascade_core.stages.modular.loop import LoopRow
from cascade_core.stages.modular.loop_stage import LoopStage, small_request
from cascade_core.stages.modular.recipes import DENOISING
from cascade_core.stages.tensors import from_handoff
from cascade_core.tensor_handoff import NamedTensors


@dataclass(frozen=True, slots=True, eq=False)
class DenoiseTask:
    """A request, and the latent that it departs from; None: from noise alone."""

    request: GenerationRequest
    latent: NamedTensors | None = None


@dataclass(slots=True, eq=False)
class KeptRow:
    """A latent that stays as it is: it takes no step."""

    request: GenerationRequest
    latent: NamedTensors
    step: int = 0
    steps: int = 0

    @property
    def bucket(self) -> tuple[int, ...]:
        """The shape of its latents."""
        return self.latent.tensor("latents").shape[1:]


class ModularDenoise(LoopStage):
    """Makes latents from noise, or from a stored latent that gets noise."""

    name = "d"
    recipes = DENOISING

    @staticmethod
    def make_task(source: NamedTensors | None, request: GenerationRequest) -> DenoiseTask:
        """Return the request with the stored latent that it departs from, if there is one."""
        return DenoiseTask(request, source)

    def small_row(self) -> LoopRow:
        """Return a row of the smallest picture; see :meth:`LoopStage.small_row`."""
        row = self.admit(DenoiseTask(small_request()))
        assert isinstance(row, LoopRow)
        return row

    def admit(self, task: DenoiseTask) -> LoopRow | KeptRow:
        """Encode the texts and draw the noise, which a stored latent gets its part of.

        Raises:
            Unsupported: a request of several images; no latent for one that departs from a latent,
                or the other way round; or too few steps.
            ModelMismatch: the latent was made by other weights.
            HandoffInvalid: it is of another stage or size.
        """
        request, latent = task.request, task.latent
        self._check(task)
        if latent is not None and request.composing_steps == 0:
            return KeptRow(request, latent)
        row = self._loop.begin(
            request, request.seed, request.guidance_scale, num_inference_steps=request.steps
        )
        # At the first of all steps nothing of the latent is left.
        if latent is not None and request.composing_steps < request.steps:
            self._depart(row, latent)
        return row

    def result(self, row: LoopRow | KeptRow) -> NamedTensors:
        """Return the latents; see :meth:`LoopStage.result`."""
        if isinstance(row, LoopRow):
            return super().result(row)
        return NamedTensors(
            made_by=self.name, tensors=row.latent.tensors, model=self._model, request=row.request
        )

    def preview(self, row: LoopRow | KeptRow) -> Rgb | None:
        """Return a small picture; see :meth:`LoopStage.preview`."""
        return super().preview(row) if isinstance(row, LoopRow) else None

    def _check(self, task: DenoiseTask) -> None:
        latent, request = task.latent, task.request
        if request.n != 1:
            raise Unsupported(f"Stage {self.name.upper()} makes one image at a time")
        departs = request.strength is not None or request.operation.starts_from_latent
        if departs == (latent is None):
            raise Unsupported("a latent goes with requests that depart from one", "kind")
        if latent is not None:
            self._check_source(latent, self.name, request)

    def _depart(self, row: LoopRow, latent: NamedTensors) -> None:
        """Begin at the request's time with the latent, noised to that time.

        Source: how the image-to-image pipelines of diffusers 0.42.1 begin.
        """
        state, scheduler = row.loop_state, row.components.scheduler
        clean = from_handoff(latent.tensor("latents"), self._device, state.latents.dtype)
        if clean.shape != state.latents.shape:
            raise HandoffInvalid(f"the latent has the shape {tuple(clean.shape)}")
        skipped = (row.request.steps - row.request.composing_steps) * scheduler.order
        state.timesteps = state.timesteps[skipped:]
        state.num_inference_steps = row.request.composing_steps
        scheduler.set_begin_index(skipped)
        state.latents = noised(scheduler, clean, state.latents, state.timesteps[:1])
        row.steps = len(state.timesteps)


def noised(
    scheduler: Any, clean: torch.Tensor, first: torch.Tensor, time: torch.Tensor
) -> torch.Tensor:
    """Return latents at a time of a scheduler's.

    Args:
        scheduler: of diffusers, set to begin at that time.
        clean: the latents without noise.
        first: what the scheduler starts from at its first time: noise of its own scale.
        time: (1,).
    """
    if hasattr(scheduler, "scale_noise"):  # flow matching: (1 - t) clean + t noise
        mixed: torch.Tensor = scheduler.scale_noise(clean, time, first)
    else:
        mixed = scheduler.add_noise(clean, first / scheduler.init_noise_sigma, time)
    return mixed
