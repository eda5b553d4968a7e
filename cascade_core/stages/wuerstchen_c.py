"""Würstchen's Stage C: turns a prompt into the small latent that holds the composition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import isfinite
from typing import Any, Final, Self

import torch

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.checkpoints.layout import read_json
from cascade_core.checkpoints.weights import (
    Placement,
    load_config,
    load_network,
    load_schedule,
)
from cascade_core.conditioning.text import PromptLimit, TextEncoder
from cascade_core.errors import ModelUnavailable
from cascade_core.handoff import WuerstchenLatent
from cascade_core.models.wuerstchen import PriorNetwork
from cascade_core.models.wuerstchen_config import PriorConfig
from cascade_core.operations.fields import MIN_SIDE_PX
from cascade_core.request import GenerationRequest
from cascade_core.sampling.noise import NoiseStream
from cascade_core.sampling.sampler import guidance_tensor, is_guided
from cascade_core.sampling.step_tables import CosineSchedule
from cascade_core.stages.base import DrawOutput, Warnings
from cascade_core.stages.previews import Previewer, load_previewer, preview_of
from cascade_core.stages.starts import check_start, first_latents
from cascade_core.stages.tensors import check_finite, to_handoff
from cascade_core.stages.wuerstchen_stage import (
    COMPOSING_TEXT,
    WuerstchenRow,
    WuerstchenStage,
    small_request,
)

NETWORK_CLASS: Final = "WuerstchenPrior"
_SCALING: Final = {"latent_mean": 42.0, "latent_std": 1.0}
"""What diffusers' pipeline has where its configuration does not say."""


@dataclass(frozen=True, slots=True, eq=False)
class WuerstchenCTask:
    """A request, and the latent that it departs from.

    Attributes:
        request: of one image.
        latent: what gets noise and is composed anew; None if the request has no ``strength``.
    """

    request: GenerationRequest
    latent: WuerstchenLatent | None = None


@dataclass(frozen=True, slots=True)
class Scaling:
    """How Stage B reads the latents of Stage C: ``latents * factor - offset``."""

    factor: float
    offset: float

    @classmethod
    def load(cls, checkpoint: Checkpoint) -> Self:
        """Read it from the ``model_index.json`` beside the prior, if that states it.

        Source: WuerstchenPriorPipeline, diffusers 0.42.1, which names these numbers latent_mean and
        latent_std.

        Raises:
            ModelUnavailable: the file is wrong.
        """
        path = checkpoint.component("prior").parent / "model_index.json"
        stated = _SCALING | (read_json(path) if path.is_file() else {})
        numbers = [stated[name] for name in _SCALING]
        if not all(type(one) in (int, float) and isfinite(one) for one in numbers):
            raise ModelUnavailable(f"{path}: {' and '.join(_SCALING)} must be numbers")
        return cls(*map(float, numbers))


class WuerstchenC(WuerstchenStage):
    """Text encoder and prior; see :class:`cascade_core.stages.base.Stage`.

    Args:
        checkpoint: gives the latents their geometry and identity.
        network: the prior.
        text: encodes prompts on the prior's device.
        schedule: the prior's noise schedule.
        previewer: turns latents into small pictures; None for no previews.
        scaling: goes along with the latents.
    """

    name = "c"

    def __init__(
        self,
        checkpoint: Checkpoint,
        network: PriorNetwork,
        text: TextEncoder,
        schedule: CosineSchedule,
        previewer: Previewer | None,
        scaling: Scaling,
    ) -> None:
        super().__init__(checkpoint, network, text, schedule, previewer)
        self._channels: int = network.config.c_in
        self._scaling = scaling

    @classmethod
    def load(
        cls, checkpoint: Checkpoint, placement: Placement, *, with_previews: bool = True
    ) -> Self:
        """Load the text encoder, the prior and, for previews, the map to colours.

        Raises:
            ModelUnavailable: files are missing or wrong.
            SettingsInvalid: the device is not there.
        """
        device, dtype = placement.resolve()
        network = load_network(checkpoint, "prior", NETWORK_CLASS, _build, device, dtype)
        path, channels = checkpoint.previewer, network.config.c_in
        return cls(
            checkpoint,
            network,
            TextEncoder.load_states(checkpoint, *COMPOSING_TEXT, device, dtype),
            load_schedule(checkpoint, "prior_scheduler"),
            load_previewer(path, channels, device) if with_previews else None,
            Scaling.load(checkpoint),
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
        """Load a second map to colours: the stage's own belongs to the model's thread.

        Raises:
            ModelUnavailable: the model has none, or its files are wrong.
        """
        placed = torch.device(device)
        channels = load_config(checkpoint, "prior", PriorConfig.read).c_in
        previewer = load_previewer(checkpoint.previewer, channels, placed)
        if previewer is None:
            raise ModelUnavailable(f"{checkpoint.id} has no previewer")
        return partial(preview_of, previewer=previewer, device=placed)

    @staticmethod
    def make_task(source: WuerstchenLatent | None, request: GenerationRequest) -> WuerstchenCTask:
        """Return the request with the stored latent that it departs from, if there is one."""
        return WuerstchenCTask(request, source)

    @torch.inference_mode()
    def admit(self, task: WuerstchenCTask) -> WuerstchenRow:
        """Encode the prompts and draw the initial noise, which a stored latent gets its part of.

        Raises:
            CascadeError: as :func:`cascade_core.stages.starts.check_start`.
        """
        request = task.request
        hw = self._geometry.stage_c_hw(request.height, request.width)
        shape_bchw = (1, self._channels, *hw)
        check_start(request, task.latent, shape_bchw[1:], self._geometry, self._model)
        steps, is_on = request.composing_steps, is_guided(request.guidance_scale)
        noise = NoiseStream(request.seed, shape_bchw, self._dtype, self._device, 1 + steps)
        table = self._step_tables.of(steps, request.start_time)
        return WuerstchenRow(
            latents_bchw=first_latents(request, task.latent, noise.draw(), table),
            table=table,
            noise=noise,
            cond=self._encode(request.prompt),
            uncond=self._encode(request.negative_prompt) if is_on else None,
            guidance=guidance_tensor(request.guidance_scale, self._device),
            request=request,
        )

    @torch.inference_mode()
    def result(self, row: WuerstchenRow) -> WuerstchenLatent:
        """Return the latent as the loop left it, and how Stage B reads it.

        Raises:
            NonFiniteLatent: the prior answered NaN or infinity.
        """
        check_finite(row.latents_bchw, "C")
        return WuerstchenLatent(
            latents_chw=to_handoff(row.latents_bchw[0]),
            factor=self._scaling.factor,
            offset=self._scaling.offset,
            geometry=self._geometry,
            model=self._model,
            request=row.request,
        )

    def warm_up(self) -> WuerstchenCTask:
        """Do what was prepared, then a small guided step; returns its task."""
        self._steps.warm_up(lambda width, height: self.admit(_small_task(width, height)))
        task = _small_task(MIN_SIDE_PX, MIN_SIDE_PX)
        row = self.admit(task)
        self.advance([row])
        self.preview(row)
        self.result(row)
        return task


def _build(config: Mapping[str, Any]) -> PriorNetwork:
    return PriorNetwork(PriorConfig.read(config))


def _small_task(width: int, height: int) -> WuerstchenCTask:
    return WuerstchenCTask(small_request(width, height, guidance_scale=2.0))
