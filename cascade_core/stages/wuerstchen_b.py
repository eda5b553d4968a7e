"""Würstchen's Stage B: turns the composition into the larger latent that holds the details."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import torch

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.checkpoints.weights import Placement, load_network, load_schedule
from cascade_core.conditioning.text import TextEncoder
from cascade_core.errors import HandoffInvalid
from cascade_core.handoff import StageBLatent, WuerstchenLatent
from cascade_core.models.wuerstchen import DecoderNetwork
from cascade_core.models.wuerstchen_config import DiffNextConfig
from cascade_core.operations.fields import MIN_SIDE_PX
from cascade_core.request import GenerationRequest
from cascade_core.sampling.noise import NoiseStream
from cascade_core.sampling.sampler import guidance_tensor, is_guided
from cascade_core.sampling.step_tables import CosineSchedule
from cascade_core.stages.previews import Previewer, load_stage_b_previewer
from cascade_core.stages.tensors import check_finite, check_origin, from_handoff, to_handoff
from cascade_core.stages.wuerstchen_stage import (
    DETAILING_TEXT,
    WuerstchenRow,
    WuerstchenStage,
    small_request,
)

NETWORK_CLASS: Final = "WuerstchenDiffNeXt"


@dataclass(frozen=True, slots=True, eq=False)
class WuerstchenBTask:
    """A composition and the request that says how to draw its details.

    Attributes:
        latent: Stage C's result, new or stored; its own request has the texts.
        request: its ``decoder_*`` values decide; its size is the latent's.
    """

    latent: WuerstchenLatent
    request: GenerationRequest


class WuerstchenB(WuerstchenStage):
    """Text encoder and decoder; see :class:`cascade_core.stages.base.Stage`.

    Args:
        checkpoint: gives the latents their geometry and identity.
        network: the decoder.
        text: encodes prompts on the decoder's device.
        schedule: the decoder's noise schedule.
        previewer: turns latents into small pictures; None for no previews.
    """

    name = "b"

    def __init__(
        self,
        checkpoint: Checkpoint,
        network: DecoderNetwork,
        text: TextEncoder,
        schedule: CosineSchedule,
        previewer: Previewer | None,
    ) -> None:
        super().__init__(checkpoint, network, text, schedule, previewer)
        self._config = network.config

    @classmethod
    def load(
        cls, checkpoint: Checkpoint, placement: Placement, *, with_previews: bool = True
    ) -> Self:
        """Load the decoder's own text encoder, the decoder and, if wanted, the previewer.

        Raises:
            ModelUnavailable: files are missing or wrong.
            SettingsInvalid: the device is not there.
        """
        device, dtype = placement.resolve()
        network = load_network(checkpoint, "decoder", NETWORK_CLASS, _build, device, dtype)
        channels = network.config.c_in
        return cls(
            checkpoint,
            network,
            TextEncoder.load_states(checkpoint, *DETAILING_TEXT, device, dtype),
            load_schedule(checkpoint, "decoder_scheduler"),
            load_stage_b_previewer(checkpoint, channels, device, dtype) if with_previews else None,
        )

    @staticmethod
    def make_task(source: WuerstchenLatent, request: GenerationRequest) -> WuerstchenBTask:
        """Return the composition and the request that says how to draw its details."""
        return WuerstchenBTask(source, request)

    @torch.inference_mode()
    def admit(self, task: WuerstchenBTask) -> WuerstchenRow:
        """Scale the composition, encode its texts and draw the initial noise.

        Raises:
            ModelMismatch: the latent was made by other weights.
            HandoffInvalid: its size is not the request's, or its channels are not the model's.
        """
        self._check(task)
        latent, request = task.latent, task.request
        normal = from_handoff(latent.latents_chw, self._device, self._dtype)[None]
        composition = normal * latent.factor - latent.offset
        stage_c_hw = self._geometry.stage_c_hw(request.height, request.width)
        shape_bchw = (1, self._config.c_in, *self._geometry.stage_b_hw(stage_c_hw))
        draws = 1 + request.decoder_steps
        noise = NoiseStream(request.decoder_seed, shape_bchw, self._dtype, self._device, draws)
        uncond = None
        if is_guided(request.decoder_guidance_scale):
            nothing = torch.zeros_like(composition)
            uncond = nothing, self._encode(latent.request.negative_prompt)
        return WuerstchenRow(
            latents_bchw=noise.draw(),
            table=self._step_tables.of(request.decoder_steps),
            noise=noise,
            cond=(composition, self._encode(latent.request.prompt)),
            uncond=uncond,
            guidance=guidance_tensor(request.decoder_guidance_scale, self._device),
            request=request,
        )

    @torch.inference_mode()
    def result(self, row: WuerstchenRow) -> StageBLatent:
        """Return the latent for Stage A.

        Raises:
            NonFiniteLatent: the decoder answered NaN or infinity.
        """
        check_finite(row.latents_bchw, "B")
        return StageBLatent(
            latents_chw=to_handoff(row.latents_bchw[0]),
            geometry=self._geometry,
            model=self._model,
            request=row.request,
        )

    def warm_up(self) -> WuerstchenBTask:
        """Do what was prepared, then a small guided step; returns its task without guidance.

        Few requests guide this stage.
        """
        self._steps.warm_up(lambda width, height: self.admit(self._small_task(width, height)))
        task = self._small_task(MIN_SIDE_PX, MIN_SIDE_PX)
        guided = replace(task.request, decoder_guidance_scale=2.0)
        row = self.admit(replace(task, request=guided))
        self.advance([row])
        self.preview(row)
        self.result(row)
        return task

    def _small_task(self, width: int, height: int) -> WuerstchenBTask:
        """Return a task of one step without guidance, on an empty latent."""
        request = small_request(width, height)
        hw = self._geometry.stage_c_hw(height, width)
        latent = WuerstchenLatent(
            latents_chw=to_handoff(torch.zeros(self._config.effnet_embd, *hw)),
            factor=1.0,
            offset=0.0,
            geometry=self._geometry,
            model=self._model,
            request=request,
        )
        return WuerstchenBTask(latent, request)

    def _check(self, task: WuerstchenBTask) -> None:
        latent, request = task.latent, task.request
        check_origin(latent.model, self._model)
        own = latent.request
        if (request.width, request.height) != (own.width, own.height) or (
            latent.geometry != self._geometry
        ):
            raise HandoffInvalid(f"the latent is for {own.width}x{own.height} px")
        channels = latent.latents_chw.shape[0]
        if channels != self._config.effnet_embd:
            raise HandoffInvalid(f"the latent has {channels} channels")


def _build(config: Mapping[str, Any]) -> DecoderNetwork:
    return DecoderNetwork(DiffNextConfig.read(config))
