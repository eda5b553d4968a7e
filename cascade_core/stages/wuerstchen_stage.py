"""What Stages C and B of Würstchen have in common: a text encoder, a network and its loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.checkpoints.weights import free_cached_memory, model_ref
from cascade_core.conditioning.text import TextEncoder
from cascade_core.images.pixels import Rgb
from cascade_core.models.wuerstchen import DecoderNetwork, PriorNetwork
from cascade_core.request import GenerationRequest
from cascade_core.sampling.sampler import SamplerRow
from cascade_core.sampling.step_tables import CosineSchedule, StepTables
from cascade_core.stages.base import Preparation, StageDefaults
from cascade_core.stages.cuda_step import CudaStep
from cascade_core.stages.previews import Previewer
from cascade_core.stages.tensors import to_preview
from cascade_core.stages.unet_steps import UnetSteps

COMPOSING_TEXT: Final = ("tokenizer", "text_encoder")
"""The components of the text encoder of Stage C: tokenizer and model."""
DETAILING_TEXT: Final = ("decoder_tokenizer", "decoder_text_encoder")
"""The same of Stage B, which has a text encoder of its own."""


@dataclass(slots=True, eq=False, kw_only=True)
class WuerstchenRow(SamplerRow):
    """A request inside a stage."""

    request: GenerationRequest


class WuerstchenStage(StageDefaults):
    """The parts of both stages that do not depend on what these take and make.

    Args:
        checkpoint: gives the latents their geometry and identity.
        network: predicts noise.
        text: encodes prompts on the network's device.
        schedule: the network's noise schedule.
        previewer: turns latents into small pictures; None for no previews.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        network: PriorNetwork | DecoderNetwork,
        text: TextEncoder,
        schedule: CosineSchedule,
        previewer: Previewer | None,
    ) -> None:
        self._geometry = checkpoint.geometry
        self._model = model_ref(checkpoint)
        self._network = network
        self._steps = UnetSteps(network)
        self._text = text
        self._step_tables = StepTables(network, schedule)
        self._previewer = previewer
        self._device: torch.device = network.device
        self._dtype: torch.dtype = network.dtype

    def prepare(self, preparation: Preparation) -> None:
        """Set what the warm-up does; diffusers' modules are neither compiled nor recorded."""
        self._steps.prepare(preparation)

    @torch.inference_mode()
    def advance(self, rows: Sequence[WuerstchenRow]) -> CudaStep | None:
        """Do one step of every row; on CUDA it goes on after the return."""
        return self._steps.advance(rows)

    @torch.inference_mode()
    def preview(self, row: WuerstchenRow) -> Rgb | None:
        """Return a small picture of the predicted latent, or None without a previewer."""
        if self._previewer is None or row.last is None:
            return None
        rgb_chw = self._previewer(row.last.clean())
        return to_preview(rgb_chw, row.request.height, row.request.width)

    def free_memory(self) -> None:
        """Free the device's cached memory."""
        free_cached_memory(self._device)

    def _encode(self, text: str) -> torch.Tensor:
        """Return the states of a text's tokens, (1, tokens, channels)."""
        return self._text.encode(text)[0]


def small_request(width: int, height: int, **values: Any) -> GenerationRequest:
    """Return a request of one step without a text.

    Args:
        width: pixels.
        height: pixels.
        values: others that it has.
    """
    steps = {"seed": 0, "steps": 1, "decoder_seed": 0, "decoder_steps": 1}
    return GenerationRequest(prompt="", width=width, height=height, **(steps | values))
