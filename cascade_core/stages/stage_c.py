"""Stage C: turns a prompt into the small latent that holds the composition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import torch

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.checkpoints.weights import (
    Placement,
    free_cached_memory,
    load_schedule,
    load_unet,
    load_unet_config,
    model_ref,
)
from cascade_core.conditioning.text import PromptLimit, TextEncoder
from cascade_core.errors import ModelUnavailable
from cascade_core.handoff import EncodedImage, StageCLatent
from cascade_core.images.pixels import Rgb
from cascade_core.models.unet import CascadeUnet, HeldConditioning
from cascade_core.operations.fields import MIN_SIDE_PX
from cascade_core.request import GenerationRequest
from cascade_core.sampling.noise import NoiseStream
from cascade_core.sampling.sampler import SamplerRow, guidance_tensor, is_guided
from cascade_core.sampling.step_tables import CosineSchedule, StepTables
from cascade_core.stages.base import DrawOutput, Preparation, Warnings
from cascade_core.stages.cuda_step import CudaStep
from cascade_core.stages.previews import Previewer, load_previewer, preview_of
from cascade_core.stages.starts import check_start, first_latents
from cascade_core.stages.tensors import check_finite, to_handoff, to_preview
from cascade_core.stages.unet_steps import UnetSteps


@dataclass(frozen=True, slots=True, eq=False)
class StageCTask:
    """A request, and the latent that it departs from.

    Attributes:
        request: of one image.
        latent: what gets noise and is composed anew, stored or of an encoded picture; None if the
            request has no ``strength``.
    """

    request: GenerationRequest
    latent: StageCLatent | EncodedImage | None = None


@dataclass(slots=True, eq=False, kw_only=True)
class StageCRow(SamplerRow):
    """A request inside Stage C; the pooled embeddings, (1, P), wait for Stage B."""

    request: GenerationRequest
    pooled: torch.Tensor
    negative_pooled: torch.Tensor


class StageC:
    """Text encoder and prior U-Net; see :class:`cascade_core.stages.base.Stage`.

    Args:
        checkpoint: gives the latents their geometry and identity.
        unet: the prior's.
        text: encodes prompts on the U-Net's device.
        schedule: the prior's noise schedule.
        previewer: turns latents into small pictures; None for no previews.
    """

    name = "c"

    def __init__(
        self,
        checkpoint: Checkpoint,
        unet: CascadeUnet,
        text: TextEncoder,
        schedule: CosineSchedule,
        previewer: Previewer | None,
    ) -> None:
        self._geometry = checkpoint.geometry
        self._model = model_ref(checkpoint)
        self._unet = unet
        self._steps = UnetSteps(unet)
        self._text = text
        self._step_tables = StepTables(unet, schedule)
        self._previewer = previewer
        self._device: torch.device = unet.device
        self._dtype: torch.dtype = unet.dtype

    @classmethod
    def load(
        cls, checkpoint: Checkpoint, placement: Placement, *, with_previews: bool = True
    ) -> Self:
        """Load the text encoder, the prior and, for previews, the previewer.

        Raises:
            ModelUnavailable: files are missing or wrong.
            SettingsInvalid: the device is not there, or the dtype is float16.
        """
        device, dtype = placement.resolve()
        unet = load_unet(checkpoint, "prior", device, dtype)
        path, channels = checkpoint.previewer, unet.config.in_channels
        return cls(
            checkpoint,
            unet,
            TextEncoder.load(checkpoint, device, dtype),
            load_schedule(checkpoint, "prior_scheduler"),
            load_previewer(path, channels, device) if with_previews else None,
        )

    @staticmethod
    def load_warnings(checkpoint: Checkpoint) -> Warnings:
        """Return what warns of prompts that are longer than the text encoder reads.

        Raises:
            ModelUnavailable: files are missing or wrong.
        """
        limit = PromptLimit.load(checkpoint)
        return lambda request, _source: limit.warnings(request)

    @staticmethod
    def load_output_drawer(checkpoint: Checkpoint, device: str) -> DrawOutput:
        """Load a second previewer: the stage's own belongs to the model's thread.

        Raises:
            ModelUnavailable: the model has no previewer, or its files are wrong.
        """
        placed = torch.device(device)
        channels = load_unet_config(checkpoint, "prior").in_channels
        previewer = load_previewer(checkpoint.previewer, channels, placed)
        if previewer is None:
            raise ModelUnavailable(f"{checkpoint.id} has no previewer")
        return partial(preview_of, previewer=previewer, device=placed)

    @staticmethod
    def make_task(
        source: StageCLatent | EncodedImage | None, request: GenerationRequest
    ) -> StageCTask:
        """Return the request with the stored latent that it departs from, if there is one."""
        return StageCTask(request, source)

    def prepare(self, preparation: Preparation) -> None:
        """Set what the warm-up does.

        Raises:
            SettingsInvalid: as :meth:`cascade_core.stages.unet_steps.UnetSteps.prepare`.
        """
        self._steps.prepare(preparation)

    @torch.inference_mode()
    def admit(self, task: StageCTask) -> StageCRow:
        """Encode both prompts and draw the initial noise, which a stored latent gets its part of.

        Raises:
            Unsupported: a request of several images; no latent for one that departs from a latent,
                or the other way round.
            ModelMismatch: the latent was made by other weights.
            HandoffInvalid: its size is not the request's, or its channels are not the model's.
        """
        request = task.request
        hw = self._geometry.stage_c_hw(request.height, request.width)
        shape_bchw = (1, self._unet.config.in_channels, *hw)
        check_start(request, task.latent, shape_bchw[1:], self._geometry, self._model)
        text, pooled = self._text.encode(request.prompt)
        # Also without guidance: Stage B may guide when its details are varied later.
        negative_text, negative_pooled = self._text.encode(request.negative_prompt)
        steps = request.composing_steps
        noise = NoiseStream(request.seed, shape_bchw, self._dtype, self._device, 1 + steps)
        table = self._step_tables.of(steps, request.start_time)
        return StageCRow(
            latents_bchw=first_latents(request, task.latent, noise.draw(), table),
            table=table,
            noise=noise,
            cond=self._hold(hw, text, pooled),
            uncond=self._hold(hw, negative_text, negative_pooled)
            if is_guided(request.guidance_scale)
            else None,
            guidance=guidance_tensor(request.guidance_scale, self._device),
            request=request,
            pooled=pooled[0],
            negative_pooled=negative_pooled[0],
        )

    @torch.inference_mode()
    def advance(self, rows: Sequence[StageCRow]) -> CudaStep | None:
        """Do one step of every row; on CUDA it goes on after the return."""
        return self._steps.advance(rows)

    @torch.inference_mode()
    def result(self, row: StageCRow) -> StageCLatent:
        """Return the latent with the embeddings that Stage B needs.

        Raises:
            NonFiniteLatent: the U-Net answered NaN or infinity.
        """
        check_finite(row.latents_bchw, "C")
        return StageCLatent(
            latents_chw=to_handoff(row.latents_bchw[0]),
            pooled=to_handoff(row.pooled),
            negative_pooled=to_handoff(row.negative_pooled),
            geometry=self._geometry,
            model=self._model,
            request=row.request,
        )

    @torch.inference_mode()
    def preview(self, row: StageCRow) -> Rgb | None:
        """Return a small picture of the predicted latent, or None without a previewer."""
        if self._previewer is None or row.last is None:
            return None
        rgb_chw = self._previewer(row.last.clean())
        return to_preview(rgb_chw, row.request.height, row.request.width)

    def warm_up(self) -> StageCTask:
        """Do what was prepared, then a small guided step; returns its task."""
        self._steps.warm_up(lambda width, height: self.admit(_empty_task(width, height)))
        task = _empty_task(MIN_SIDE_PX, MIN_SIDE_PX)
        row = self.admit(task)
        self.advance([row])
        self.preview(row)
        self.result(row)
        return task

    def free_memory(self) -> None:
        """Free the device's cached memory."""
        free_cached_memory(self._device)

    def _hold(
        self, latent_hw: tuple[int, int], text: torch.Tensor, pooled: torch.Tensor
    ) -> HeldConditioning:
        channels = self._unet.config.clip_image_in_channels
        image = None
        if channels is not None:  # zeros stand for no image
            image = torch.zeros(1, 1, channels, device=self._device, dtype=self._dtype)
        return self._unet.hold(latent_hw, pooled=pooled, text=text, image=image)


def _empty_task(width: int, height: int) -> StageCTask:
    """Return a task of one guided step without a text."""
    request = GenerationRequest(
        prompt="",
        width=width,
        height=height,
        seed=0,
        decoder_seed=0,
        steps=1,
        guidance_scale=2.0,
    )
    return StageCTask(request)
