"""The encoder of pictures: turns an upload into the latent that Stage C starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.checkpoints.weights import (
    Placement,
    free_cached_memory,
    load_unet_config,
    model_ref,
)
from cascade_core.conditioning.image_to_latent import ImageToLatent
from cascade_core.errors import Internal, ModelUnavailable
from cascade_core.handoff import EncodedImage
from cascade_core.images.pixels import Rgb
from cascade_core.images.stored_upload import StoredUpload
from cascade_core.operations.fields import MIN_SIDE_PX
from cascade_core.request import GenerationRequest
from cascade_core.stages.base import StageDefaults
from cascade_core.stages.tensors import check_finite, to_handoff


@dataclass(frozen=True, slots=True, eq=False)
class EncoderTask:
    """A picture and the request that says for which size it is encoded."""

    upload: StoredUpload
    request: GenerationRequest


@dataclass(slots=True, eq=False)
class EncoderRow:
    """A picture before its one step, its latent (c, h, w) after it."""

    pixels_hwc: Rgb
    request: GenerationRequest
    bucket: tuple[int, int, int]
    latents_chw: torch.Tensor | None = None

    @property
    def step(self) -> int:
        """Steps done, 0 or 1."""
        return int(self.latents_chw is not None)

    @property
    def steps(self) -> int:
        """Always 1."""
        return 1


class ImageEncoder(StageDefaults):
    """Encodes pictures; see :class:`cascade_core.stages.base.Stage`.

    Args:
        checkpoint: gives the latents their geometry and identity.
        encoder: the model's.

    Raises:
        ModelUnavailable: its latents do not have the channels of Stage C's.
    """

    name = "e"

    def __init__(self, checkpoint: Checkpoint, encoder: ImageToLatent) -> None:
        wanted = load_unet_config(checkpoint, "prior").in_channels
        if encoder.latent_channels != wanted:
            raise ModelUnavailable(
                f"the encoder of {checkpoint.id} makes {encoder.latent_channels} channels, Stage C "
                f"has {wanted}"
            )
        self._geometry = checkpoint.geometry
        self._model = model_ref(checkpoint)
        self._encoder = encoder

    @classmethod
    def load(
        cls, checkpoint: Checkpoint, placement: Placement, *, with_previews: bool = True
    ) -> Self:
        """Load the encoder alone, in float32; it draws no previews either way.

        Raises:
            ModelUnavailable: the model has none, or files are wrong.
            SettingsInvalid: the device is not there.
        """
        device, _ = placement.resolve()
        return cls(checkpoint, ImageToLatent.load(checkpoint, device))

    @staticmethod
    def make_task(source: StoredUpload, request: GenerationRequest) -> EncoderTask:
        """Return the upload and the request that says for which size it is encoded."""
        return EncoderTask(source, request)

    def admit(self, task: EncoderTask) -> EncoderRow:
        """Decode the file.

        Raises:
            HandoffInvalid: it is damaged.
        """
        request = task.request
        hw = self._geometry.stage_c_hw(request.height, request.width)
        bucket = (self._encoder.latent_channels, *hw)
        return EncoderRow(task.upload.pixels_hwc(), request, bucket)

    def advance(self, rows: Sequence[EncoderRow]) -> None:
        """Encode every row, one by one: uploads are rare, and each takes milliseconds."""
        made = [self._encoder.encode(row.pixels_hwc, row.bucket[1:]) for row in rows]
        for row, latents_chw in zip(rows, made, strict=True):
            row.latents_chw = latents_chw

    def result(self, row: EncoderRow) -> EncodedImage:
        """Return the latent.

        Raises:
            NonFiniteLatent: the encoder answered NaN or infinity.
        """
        if row.latents_chw is None:
            raise Internal("the row is not encoded yet")
        check_finite(row.latents_chw, "E")
        return EncodedImage(
            latents_chw=to_handoff(row.latents_chw),
            geometry=self._geometry,
            model=self._model,
            request=row.request,
        )

    def preview(self, row: EncoderRow) -> Rgb | None:
        """Return None: there is nothing to see but the upload."""
        return None

    def warm_up(self) -> EncoderTask:
        """Encode one small grey picture, and return its task."""
        request = GenerationRequest(
            prompt="", width=MIN_SIDE_PX, height=MIN_SIDE_PX, seed=0, decoder_seed=0
        )
        grey_hwc = np.full((MIN_SIDE_PX, MIN_SIDE_PX, 3), 128, np.uint8)
        task = EncoderTask(StoredUpload.of(grey_hwc), request)
        self.advance([self.admit(task)])
        return task

    def free_memory(self) -> None:
        """Free the device's cached memory."""
        free_cached_memory(self._encoder.device)
