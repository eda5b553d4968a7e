"""Stage A: decodes the latent of Stage B, or of a flow model, to pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.checkpoints.weights import (
    Placement,
    free_cached_memory,
    load_vqgan_decoder,
    model_ref,
)
from cascade_core.errors import HandoffInvalid, Internal
from cascade_core.handoff import FlowLatent, StageBLatent
from cascade_core.images.pixels import Rgb
from cascade_core.models.paella import PaellaDecoder
from cascade_core.operations.fields import MIN_SIDE_PX
from cascade_core.request import GenerationRequest
from cascade_core.stages.base import Preparation, StageDefaults
from cascade_core.stages.tensors import (
    check_finite,
    check_origin,
    from_handoff,
    to_handoff,
    to_pixels,
)


@dataclass(slots=True, eq=False)
class StageARow:
    """A latent inside Stage A: (1, c, h, w) before its one step, pixels after it."""

    latents_bchw: torch.Tensor
    pixels_hwc: Rgb | None = None

    @property
    def step(self) -> int:
        """Steps done, 0 or 1."""
        return int(self.pixels_hwc is not None)

    @property
    def steps(self) -> int:
        """Always 1."""
        return 1

    @property
    def bucket(self) -> tuple[int, ...]:
        """The latent's shape."""
        return tuple(self.latents_bchw.shape[1:])


class StageA(StageDefaults):
    """Stage A's decoder; see :class:`cascade_core.stages.base.Stage`."""

    name = "a"

    def __init__(self, checkpoint: Checkpoint, model: PaellaDecoder) -> None:
        self._geometry = checkpoint.geometry
        self._model_ref = model_ref(checkpoint)
        self._model = model
        self._sizes: tuple[tuple[int, int], ...] = ()
        self._device: torch.device = model.device
        self._dtype: torch.dtype = model.dtype

    @classmethod
    def load(
        cls, checkpoint: Checkpoint, placement: Placement, *, with_previews: bool = True
    ) -> Self:
        """Load Stage A alone; it draws no previews either way.

        Raises:
            ModelUnavailable: files are missing or wrong.
            SettingsInvalid: the device is not there.
        """
        device, dtype = placement.resolve()
        return cls(checkpoint, load_vqgan_decoder(checkpoint, device, dtype))

    @staticmethod
    def make_task(
        source: StageBLatent | FlowLatent, _request: GenerationRequest
    ) -> StageBLatent | FlowLatent:
        """Return the latent, which holds its request."""
        return source

    def prepare(self, preparation: Preparation) -> None:
        """Set of which sizes the warm-up decodes a latent."""
        self._sizes = preparation.sizes

    @torch.inference_mode()
    def admit(self, task: StageBLatent | FlowLatent) -> StageARow:
        """Take over the latent.

        Raises:
            ModelMismatch: it was made by other weights.
            HandoffInvalid: its channels are not the model's.
        """
        check_origin(task.model, self._model_ref)
        channels = task.latents_chw.shape[0]
        if channels != self._model.config.latent_channels:
            raise HandoffInvalid(f"the latent has {channels} channels")
        return StageARow(from_handoff(task.latents_chw, self._device, self._dtype)[None])

    @torch.inference_mode()
    def advance(self, rows: Sequence[StageARow]) -> None:
        """Decode every row, one by one.

        A single 1024x1024 image fills a GPU and takes 1 GB of activations, so batches gain nothing.

        Raises:
            NonFiniteLatent: the decoder answered NaN or infinity.
        """
        pictures = [self._decode_row(row) for row in rows]
        for row, pixels_hwc in zip(rows, pictures, strict=True):
            row.pixels_hwc = pixels_hwc

    def result(self, row: StageARow) -> Rgb:
        """Return the image, (H, W, 3) uint8."""
        if row.pixels_hwc is None:
            raise Internal("the row is not decoded yet")
        return row.pixels_hwc

    def preview(self, row: StageARow) -> Rgb | None:
        """Return None: its only step makes the image itself."""
        return None

    def warm_up(self) -> StageBLatent:
        """Decode an empty latent of each prepared size and a small one; returns that."""
        for size in self._sizes:
            self.advance([self.admit(self._empty_latent(*size))])
        latent = self._empty_latent(MIN_SIDE_PX, MIN_SIDE_PX)
        self.advance([self.admit(latent)])
        return latent

    def free_memory(self) -> None:
        """Free the device's cached memory."""
        free_cached_memory(self._device)

    def _empty_latent(self, width: int, height: int) -> StageBLatent:
        request = GenerationRequest(prompt="", width=width, height=height, seed=0, decoder_seed=0)
        hw = self._geometry.stage_b_hw(self._geometry.stage_c_hw(height, width))
        return StageBLatent(
            latents_chw=to_handoff(torch.zeros(self._model.config.latent_channels, *hw)),
            geometry=self._geometry,
            model=self._model_ref,
            request=request,
        )

    def _decode_row(self, row: StageARow) -> Rgb:
        decoded = self._model(row.latents_bchw)
        check_finite(decoded, "A")
        return to_pixels(decoded[0])
