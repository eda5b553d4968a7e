"""Stage B: turns Stage C's composition into the larger latent that holds the details."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import torch

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.checkpoints.weights import (
    Placement,
    free_cached_memory,
    load_schedule,
    load_unet,
    model_ref,
)
from cascade_core.errors import HandoffInvalid, ModelUnavailable
from cascade_core.geometry import have_one_aspect
from cascade_core.handoff import StageBLatent, StageCLatent
from cascade_core.images.pixels import Rgb
from cascade_core.models.unet import CascadeUnet
from cascade_core.operations.fields import MIN_SIDE_PX
from cascade_core.request import GenerationRequest
from cascade_core.sampling.noise import NoiseStream
from cascade_core.sampling.sampler import SamplerRow, guidance_tensor, is_guided
from cascade_core.sampling.step_tables import CosineSchedule, StepTables
from cascade_core.stages.base import Preparation, StageDefaults, Warnings
from cascade_core.stages.cuda_step import CudaStep
from cascade_core.stages.previews import Previewer, load_stage_b_previewer
from cascade_core.stages.tensors import (
    check_finite,
    check_origin,
    from_handoff,
    to_handoff,
    to_preview,
)
from cascade_core.stages.unet_steps import UnetSteps

MIN_SCALE: Final = 0.75
MAX_SCALE: Final = 1.5
"""Sides of a picture by those of its composition. The published Stage B was trained with
compositions of 0.5 to 1 cell on 32 px (train/train_b.py of Stability-AI/StableCascade), that is
0.75 to 1.5 times the usual size."""


@dataclass(frozen=True, slots=True, eq=False)
class StageBTask:
    """A Stage C latent and the request that says how to decode it.

    Attributes:
        latent: Stage C's result, new or stored.
        request: its ``decoder_*`` values decide, and its size, which is the latent's or
            another of its aspect.
    """

    latent: StageCLatent
    request: GenerationRequest


@dataclass(slots=True, eq=False, kw_only=True)
class StageBRow(SamplerRow):
    """A request inside Stage B."""

    request: GenerationRequest


class StageB(StageDefaults):
    """Decoder U-Net; see :class:`cascade_core.stages.base.Stage`.

    Args:
        checkpoint: gives the latents their geometry and identity.
        unet: the decoder's.
        schedule: the decoder's noise schedule.
        previewer: turns latents into small pictures; None for no previews.

    Raises:
        ModelUnavailable: the U-Net takes no Stage C latent.
    """

    name = "b"

    def __init__(
        self,
        checkpoint: Checkpoint,
        unet: CascadeUnet,
        schedule: CosineSchedule,
        previewer: Previewer | None,
    ) -> None:
        if unet.config.effnet_in_channels is None:
            raise ModelUnavailable(f"the decoder of {checkpoint.id} takes no Stage C latent")
        self._effnet_channels: int = unet.config.effnet_in_channels
        self._geometry = checkpoint.geometry
        self._model = model_ref(checkpoint)
        self._unet = unet
        self._steps = UnetSteps(unet)
        self._step_tables = StepTables(unet, schedule)
        self._previewer = previewer
        self._device: torch.device = unet.device
        self._dtype: torch.dtype = unet.dtype

    @classmethod
    def load(
        cls, checkpoint: Checkpoint, placement: Placement, *, with_previews: bool = True
    ) -> Self:
        """Load the decoder and, if wanted, the previewer; never a text encoder.

        Raises:
            ModelUnavailable: files are missing or wrong.
            SettingsInvalid: the device is not there.
        """
        device, dtype = placement.resolve()
        unet = load_unet(checkpoint, "decoder", device, dtype)
        channels = unet.config.in_channels
        return cls(
            checkpoint,
            unet,
            load_schedule(checkpoint, "decoder_scheduler"),
            load_stage_b_previewer(checkpoint, channels, device, dtype) if with_previews else None,
        )

    @staticmethod
    def load_warnings(_checkpoint: Checkpoint) -> Warnings:
        """Return what warns of sizes that the decoder has not learnt."""
        return _size_warnings

    @staticmethod
    def make_task(source: StageCLatent, request: GenerationRequest) -> StageBTask:
        """Return the latent and the request that says how to decode it."""
        return StageBTask(source, request)

    def prepare(self, preparation: Preparation) -> None:
        """Set what the warm-up does.

        Raises:
            SettingsInvalid: as :meth:`cascade_core.stages.unet_steps.UnetSteps.prepare`.
        """
        self._steps.prepare(preparation)

    @torch.inference_mode()
    def admit(self, task: StageBTask) -> StageBRow:
        """Take over the Stage C latent and draw the initial noise.

        Raises:
            ModelMismatch: the latent was made by other weights.
            HandoffInvalid: its aspect is not the request's, or its channels are not the model's.
        """
        self._check(task)
        latent, request = task.latent, task.request
        effnet = from_handoff(latent.latents_chw, self._device, self._dtype)[None]
        pooled = from_handoff(latent.pooled, self._device, self._dtype)[None]
        negative_pooled = from_handoff(latent.negative_pooled, self._device, self._dtype)[None]
        # Not the latent's own: the U-Net scales the composition to the size of the request.
        stage_c_hw = self._geometry.stage_c_hw(request.height, request.width)
        hw = self._geometry.stage_b_hw(stage_c_hw)
        shape_bchw = (1, self._unet.config.in_channels, *hw)
        draws = 1 + request.decoder_steps
        noise = NoiseStream(request.decoder_seed, shape_bchw, self._dtype, self._device, draws)
        uncond = None
        if is_guided(request.decoder_guidance_scale):
            nothing = torch.zeros_like(effnet)
            uncond = self._unet.hold(hw, pooled=negative_pooled, effnet=nothing)
        return StageBRow(
            latents_bchw=noise.draw(),
            table=self._step_tables.of(request.decoder_steps),
            noise=noise,
            cond=self._unet.hold(hw, pooled=pooled, effnet=effnet),
            uncond=uncond,
            guidance=guidance_tensor(request.decoder_guidance_scale, self._device),
            request=request,
        )

    @torch.inference_mode()
    def advance(self, rows: Sequence[StageBRow]) -> CudaStep | None:
        """Do one step of every row; on CUDA it goes on after the return."""
        return self._steps.advance(rows)

    @torch.inference_mode()
    def result(self, row: StageBRow) -> StageBLatent:
        """Return the latent for Stage A.

        Raises:
            NonFiniteLatent: the U-Net answered NaN or infinity.
        """
        check_finite(row.latents_bchw, "B")
        return StageBLatent(
            latents_chw=to_handoff(row.latents_bchw[0]),
            geometry=self._geometry,
            model=self._model,
            request=row.request,
        )

    @torch.inference_mode()
    def preview(self, row: StageBRow) -> Rgb | None:
        """Return a small picture of the predicted latent, or None without a previewer."""
        if self._previewer is None or row.last is None:
            return None
        rgb_chw = self._previewer(row.last.clean())
        return to_preview(rgb_chw, row.request.height, row.request.width)

    def warm_up(self) -> StageBTask:
        """Do what was prepared, then a small guided step; returns its task without guidance.

        Few requests guide this stage.
        """
        self._steps.warm_up(lambda width, height: self.admit(self._empty_task(width, height)))
        task = self._empty_task(MIN_SIDE_PX, MIN_SIDE_PX)
        guided = replace(task.request, decoder_guidance_scale=2.0)
        row = self.admit(replace(task, request=guided))
        self.advance([row])
        self.preview(row)
        self.result(row)
        return task

    def free_memory(self) -> None:
        """Free the device's cached memory."""
        free_cached_memory(self._device)

    def _empty_task(self, width: int, height: int) -> StageBTask:
        """Return a task of one step without guidance, on an empty latent."""
        request = GenerationRequest(
            prompt="",
            width=width,
            height=height,
            seed=0,
            decoder_seed=0,
            decoder_steps=1,
            decoder_guidance_scale=0.0,
        )
        hw = self._geometry.stage_c_hw(height, width)
        pooled = to_handoff(torch.zeros(1, self._unet.config.clip_text_pooled_in_channels))
        latent = StageCLatent(
            latents_chw=to_handoff(torch.zeros(self._effnet_channels, *hw)),
            pooled=pooled,
            negative_pooled=pooled,
            geometry=self._geometry,
            model=self._model,
            request=request,
        )
        return StageBTask(latent, request)

    def _check(self, task: StageBTask) -> None:
        latent, config = task.latent, self._unet.config
        check_origin(latent.model, self._model)
        size, own = _size(task.request), _size(latent.request)
        if not have_one_aspect(size, own) or latent.geometry != self._geometry:
            raise HandoffInvalid(f"the latent is for {own[0]}x{own[1]} px")
        channels = (latent.latents_chw.shape[0], latent.pooled.shape[1])
        if channels != (self._effnet_channels, config.clip_text_pooled_in_channels):
            raise HandoffInvalid(f"the latent has {channels[0]} and {channels[1]} channels")


def _size_warnings(request: GenerationRequest, source: StageCLatent | None) -> list[str]:
    """Return a sentence about a size that is too far from that of a stored composition."""
    if source is None:
        return []
    (width, height), (own_width, own_height) = _size(request), _size(source.request)
    scales = width / own_width, height / own_height
    if min(scales) >= MIN_SCALE and max(scales) <= MAX_SCALE:
        return []
    return [
        f"{width}x{height} px is outside {MIN_SCALE:g} to {MAX_SCALE:g} times the composition's "
        f"{own_width}x{own_height} px, for which Stage B was trained"
    ]


def _size(request: GenerationRequest) -> tuple[int, int]:
    return request.width, request.height
