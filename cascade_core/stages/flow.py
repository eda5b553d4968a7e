"""The denoising stage of a flow-matching model: from a prompt straight to Stage A's latent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import torch

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.checkpoints.schedules import load_flow_schedule
from cascade_core.checkpoints.weights import (
    Placement,
    free_cached_memory,
    load_unet,
    load_unet_config,
    model_ref,
)
from cascade_core.conditioning.text import PromptLimit, TextEncoder
from cascade_core.handoff import FlowLatent
from cascade_core.images.pixels import Rgb
from cascade_core.models.unet import CascadeUnet, HeldConditioning
from cascade_core.operations.fields import MIN_SIDE_PX
from cascade_core.request import GenerationRequest
from cascade_core.sampling.flow_schedule import FlowSchedule
from cascade_core.sampling.noise import NoiseStream, NoNoise
from cascade_core.sampling.sampler import SamplerRow, guidance_tensor, is_guided
from cascade_core.sampling.step_tables import StepTables
from cascade_core.stages.base import DrawOutput, Preparation, Warnings
from cascade_core.stages.cuda_step import CudaStep
from cascade_core.stages.previews import Previewer, load_stage_b_previewer, preview_of
from cascade_core.stages.starts import check_start, first_latents
from cascade_core.stages.tensors import check_finite, to_handoff, to_preview
from cascade_core.stages.unet_steps import UnetSteps

DENOISER = "denoiser"
"""The component with the net; its config.json is that of a StableCascadeUNet."""


@dataclass(frozen=True, slots=True, eq=False)
class FlowTask:
    """A request, and the latent that it departs from.

    Attributes:
        request: of one image.
        latent: what gets noise and is drawn anew; None if the request has no ``strength``.
    """

    request: GenerationRequest
    latent: FlowLatent | None = None


@dataclass(slots=True, eq=False, kw_only=True)
class FlowRow(SamplerRow):
    """A request inside the stage."""

    request: GenerationRequest


class FlowStage:
    """Text encoder and flow-matching net; see :class:`cascade_core.stages.base.Stage`.

    Args:
        checkpoint: gives the latents their geometry and identity.
        unet: predicts the direction from picture to noise.
        text: encodes prompts on the net's device.
        schedule: where the steps lie.
        previewer: turns latents into small pictures; None for no previews.
    """

    name = "d"

    def __init__(
        self,
        checkpoint: Checkpoint,
        unet: CascadeUnet,
        text: TextEncoder,
        schedule: FlowSchedule,
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
        """Load the text encoder, the net and, for previews, the previewer.

        Raises:
            ModelUnavailable: files are missing or wrong.
            SettingsInvalid: the device is not there.
        """
        device, dtype = placement.resolve()
        unet = load_unet(checkpoint, DENOISER, device, dtype)
        channels = unet.config.in_channels
        return cls(
            checkpoint,
            unet,
            TextEncoder.load(checkpoint, device, dtype),
            load_flow_schedule(checkpoint),
            load_stage_b_previewer(checkpoint, channels, device, dtype) if with_previews else None,
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
            ModelUnavailable: files are missing or wrong.
        """
        placed = torch.device(device)
        channels = load_unet_config(checkpoint, DENOISER).in_channels
        previewer = load_stage_b_previewer(checkpoint, channels, placed, torch.float32)
        return partial(preview_of, previewer=previewer, device=placed)

    @staticmethod
    def make_task(source: FlowLatent | None, request: GenerationRequest) -> FlowTask:
        """Return the request with the stored latent that it departs from, if there is one."""
        return FlowTask(request, source)

    def prepare(self, preparation: Preparation) -> None:
        """Set what the warm-up does.

        Raises:
            SettingsInvalid: as :meth:`cascade_core.stages.unet_steps.UnetSteps.prepare`.
        """
        self._steps.prepare(preparation)

    @torch.inference_mode()
    def admit(self, task: FlowTask) -> FlowRow:
        """Encode the prompts and draw the initial noise, which a stored latent gets its part of.

        Raises:
            Unsupported: a request of several images; no latent for one that departs from a latent,
                or the other way round.
            ModelMismatch: the latent was made by other weights.
            HandoffInvalid: its size is not the request's, or its channels are not the model's.
        """
        request, cell_px = task.request, self._geometry.stage_a_factor
        hw = request.height // cell_px, request.width // cell_px
        shape_bchw = (1, self._unet.config.in_channels, *hw)
        check_start(request, task.latent, shape_bchw[1:], self._geometry, self._model)
        noise_bchw = NoiseStream(request.seed, shape_bchw, self._dtype, self._device, 1).draw()
        table = self._step_tables.of(request.composing_steps, request.start_time)
        latents_bchw = first_latents(request, task.latent, noise_bchw, table)
        guided = is_guided(request.guidance_scale)
        return FlowRow(
            latents_bchw=latents_bchw,
            table=table,
            noise=NoNoise(latents_bchw),
            cond=self._hold(hw, request.prompt),
            uncond=self._hold(hw, request.negative_prompt) if guided else None,
            guidance=guidance_tensor(request.guidance_scale, self._device),
            request=request,
        )

    @torch.inference_mode()
    def advance(self, rows: Sequence[FlowRow]) -> CudaStep | None:
        """Do one step of every row; on CUDA it goes on after the return."""
        return self._steps.advance(rows)

    @torch.inference_mode()
    def result(self, row: FlowRow) -> FlowLatent:
        """Return the latent for Stage A.

        Raises:
            NonFiniteLatent: the net answered NaN or infinity.
        """
        check_finite(row.latents_bchw, self.name.upper())
        return FlowLatent(
            latents_chw=to_handoff(row.latents_bchw[0]),
            geometry=self._geometry,
            model=self._model,
            request=row.request,
        )

    @torch.inference_mode()
    def preview(self, row: FlowRow) -> Rgb | None:
        """Return a small picture of the predicted latent, or None without a previewer."""
        if self._previewer is None or row.last is None:
            return None
        rgb_chw = self._previewer(row.last.clean())
        return to_preview(rgb_chw, row.request.height, row.request.width)

    def warm_up(self) -> FlowTask:
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

    def _hold(self, latent_hw: tuple[int, int], prompt: str) -> HeldConditioning:
        text, pooled = self._text.encode(prompt)
        channels = self._unet.config.clip_image_in_channels
        image = None
        if channels is not None:  # zeros stand for no image
            image = torch.zeros(1, 1, channels, device=self._device, dtype=self._dtype)
        return self._unet.hold(latent_hw, pooled=pooled, text=text, image=image)


def _empty_task(width: int, height: int) -> FlowTask:
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
    return FlowTask(request)
