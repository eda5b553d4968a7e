"""Stages that do nothing; light enough that replicas of them start fast."""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import numpy as np

from cascade_core.checkpoints.checkpoint import open_checkpoint
from cascade_core.handoff import ModelRef, StageCLatent, Tensor
from cascade_core.images.image_files import encode_image
from cascade_core.operations.fields import MIN_SIDE_PX
from cascade_core.request import GenerationRequest
from serve.messages import StageMessage
from serve.served_models import ServedModel
from serve.settings import Settings

NULL_JOB: dict[str, Any] = {"prompt": "null", "width": MIN_SIDE_PX, "height": MIN_SIDE_PX}


class NullStage:
    """Answers at once; a prompt ``hold 0.5`` takes the first stage that many seconds.

    The stage whose output is kept answers with zeros, the others with the same small PNG.
    """

    def __init__(
        self, model: ServedModel, name: str, _settings: Settings, _gpu_share: float | None = None
    ) -> None:
        self._spec = model.family.stage(name)
        self._is_first = model.family.before(self._spec) is None
        self._starts: deque[tuple[int, float]] = deque(maxlen=1000)
        self._checkpoint = open_checkpoint(model.source, components=())
        pixels_hwc = np.zeros((MIN_SIDE_PX, MIN_SIDE_PX, 3), np.uint8)
        self._picture = encode_image(pixels_hwc, "png", None)

    async def run(self, request: dict[str, Any], *_input: Any) -> AsyncIterator[StageMessage]:
        """Answer a one-image request."""
        self._starts.append((request["seed"], time.time()))
        yield StageMessage(type="started")
        if self._is_first:
            await asyncio.sleep(_hold_s(request["prompt"]))
        is_kept = self._spec.keeps_output
        result = self._latent(request).encode() if is_kept else self._picture
        yield StageMessage(type="done", result=result, seconds=0.0)

    def recent_starts(self) -> dict[int, float]:
        """Return when the last requests started, by seed, as seconds since the epoch."""
        return dict(self._starts)

    def max_rows(self) -> int:
        """Return how many requests are taken at a time."""
        return 1

    def _latent(self, request: dict[str, Any]) -> StageCLatent:
        made, checkpoint = GenerationRequest.from_dict(request), self._checkpoint
        height_width = checkpoint.geometry.stage_c_hw(made.height, made.width)
        pooled = Tensor("float32", np.zeros((1, 1), np.float32))
        return StageCLatent(
            latents_chw=Tensor("float32", np.zeros((1, *height_width), np.float32)),
            pooled=pooled,
            negative_pooled=pooled,
            geometry=checkpoint.geometry,
            model=ModelRef(checkpoint.id, checkpoint.revision, checkpoint.fingerprint),
            request=made,
        )


def _hold_s(prompt: str) -> float:
    match = re.fullmatch(r"hold ([\d.]+)", prompt)
    return float(match[1]) if match else 0.0
