"""Stages without models, on the real engine: their replicas start fast, and their steps are waits.

What they make depends on what the pictures of real stages depend on, so a picture made of another
seed or another hand-off has another colour.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from cascade_core.checkpoints.checkpoint import open_checkpoint
from cascade_core.handoff import ModelRef, StageCLatent, Tensor
from cascade_core.images.image_files import ImageInfo, encode_image, encode_preview
from cascade_core.images.pixels import Rgb
from cascade_core.request import GenerationRequest
from serve.messages import ImageIds, StageMessage
from serve.served_models import ServedModel
from serve.settings import Settings
from serve.stages.replica import StageReplica

STEP_S = 0.05
PREVIEW_SIDE_PX = 64
HELD = "no step before there is "
"""Begins a prompt; the rest names a file, and stages take no step before it exists."""


@dataclass
class FakeRow:
    """A row that only counts its steps."""

    steps: int
    prompt: str
    step: int = 0
    bucket: tuple[int, ...] = (1,)

    @property
    def is_held(self) -> bool:
        """Return True until the file that the prompt names exists."""
        return self.prompt.startswith(HELD) and not Path(self.prompt.removeprefix(HELD)).exists()


class FakeModel:
    """Waits at each step."""

    def __init__(self, name: str) -> None:
        self.name = name

    def admit(self, task: FakeRow) -> FakeRow:
        return task

    def advance(self, rows: Sequence[FakeRow]) -> None:
        time.sleep(STEP_S)
        while any(row.is_held for row in rows):
            time.sleep(STEP_S)
        for row in rows:
            row.step += 1

    def result(self, row: FakeRow) -> None:
        return None

    def preview(self, row: FakeRow) -> Rgb:
        return np.full((PREVIEW_SIDE_PX, PREVIEW_SIDE_PX, 3), row.step, np.uint8)

    def warm_up(self) -> None:
        return None

    def free_memory(self) -> None:
        return None


class FakeStage:
    """A stage as a deployment; see :class:`serve.stages.deployments.StageDeployment`."""

    def __init__(
        self, model: ServedModel, name: str, settings: Settings, _gpu_share: float | None = None
    ) -> None:
        family = model.family
        self._spec = family.stage(name)
        self._is_encoder = self._spec == family.encoder
        self._previews = min(settings.previews, self._spec.max_previews)
        self._checkpoint = open_checkpoint(model.source, components=())
        max_rows = settings.max_rows or family.max_rows("cpu", self._checkpoint.max_rows)[name]
        self._replica = StageReplica(FakeModel(name), max_rows)

    async def run(
        self,
        request: dict[str, Any],
        source: bytes | None,
        ids: ImageIds,
        is_watched: bool = True,
        _context: Any = None,
    ) -> AsyncIterator[StageMessage]:
        """Take the steps of a one-image request, then answer with what depends on it."""
        made = GenerationRequest.from_dict(request)
        row = FakeRow(self._spec.steps(made), made.prompt)
        previews = self._previews if is_watched else 0
        async for message in self._replica.run(row, previews):
            if message["type"] == "done":
                message["result"] = self._result(made, source or b"", ids)
            yield message

    async def preview(self, output: bytes, _context: Any = None) -> AsyncIterator[StageMessage]:
        """Draw a hand-off alike, whatever it holds."""
        StageCLatent.decode(output)
        drawn = encode_preview(np.zeros((PREVIEW_SIDE_PX, PREVIEW_SIDE_PX, 3), np.uint8))
        yield StageMessage(type="done", result=drawn, seconds=0.0)

    def max_rows(self) -> int:
        """Return how many images are worked on at a time."""
        return self._replica.max_rows

    def check_health(self) -> None:
        """Fail if the engine's thread ended."""
        self._replica.check_health()

    def _result(self, request: GenerationRequest, source: bytes, ids: ImageIds) -> bytes:
        if self._spec.keeps_output:
            return self._latent(request, source)
        if self._is_encoder:  # all images of a job share its output, and any of them may ask for it
            return sha256(source).digest()
        if self._spec.output:
            return sha256(source + str(request.decoder_seed).encode()).digest()
        pixels_hwc = np.empty((request.height, request.width, 3), np.uint8)
        pixels_hwc[:] = tuple(source[:3])
        info = ImageInfo(request=request, model=self._model(), **ids)
        return encode_image(pixels_hwc, request.format, info)

    def _latent(self, request: GenerationRequest, source: bytes) -> bytes:
        geometry = self._checkpoint.geometry
        shape = (1, *geometry.stage_c_hw(request.height, request.width))
        value = request.seed + sha256(source).digest()[0] / 256
        pooled = Tensor("float32", np.zeros((1, 1), np.float32))
        return StageCLatent(
            latents_chw=Tensor("float32", np.full(shape, value, np.float32)),
            pooled=pooled,
            negative_pooled=pooled,
            geometry=geometry,
            model=self._model(),
            request=request,
        ).encode()

    def _model(self) -> ModelRef:
        checkpoint = self._checkpoint
        return ModelRef(checkpoint.id, checkpoint.revision, checkpoint.fingerprint)
