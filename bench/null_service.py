"""The service with stages that do nothing, so that what is left is gateway, jobs and stores."""

from __future__ import annotations

import asyncio
import re
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from bench.chaos import VICTIMS, scratch_settings
from cascade_core.checkpoint import open_checkpoint
from cascade_core.handoff import ModelRef, StageCLatent, Tensor
from cascade_core.images import encode_image
from cascade_core.request import MIN_SIDE_PX, GenerationRequest
from serve.local import Running, start
from serve.replica import Message
from serve.settings import Settings

NULL_JOB: dict[str, Any] = {"prompt": "null", "width": MIN_SIDE_PX, "height": MIN_SIDE_PX}
ANY_NUMBER = 100_000


class NullStageC:
    """Answers at once with zeros; a prompt ``hold 0.5`` takes it that many seconds."""

    def __init__(self, settings: Settings) -> None:
        checkpoint = open_checkpoint(settings.model_source(), components=())
        self._geometry = checkpoint.geometry
        self._model = ModelRef(checkpoint.id, checkpoint.revision, checkpoint.fingerprint)
        self._starts: deque[tuple[int, float]] = deque(maxlen=1000)

    async def run(self, request: dict[str, Any]) -> AsyncIterator[Message]:
        """Make the latent of a one-image request."""
        self._starts.append((request["seed"], time.time()))
        yield Message(type="started")
        await asyncio.sleep(_hold_s(request["prompt"]))
        yield Message(type="done", result=self._latent(request).encode(), seconds=0.0)

    def recent_starts(self) -> dict[int, float]:
        """Return when the last requests started, by seed, as seconds since the epoch."""
        return dict(self._starts)

    def max_rows(self) -> int:
        """Return how many requests are taken at a time."""
        return 1

    def _latent(self, request: dict[str, Any]) -> StageCLatent:
        made = GenerationRequest.from_dict(request)
        height_width = self._geometry.stage_c_hw(made.height, made.width)
        pooled = Tensor("float32", np.zeros((1, 1), np.float32))
        return StageCLatent(
            latents_chw=Tensor("float32", np.zeros((1, *height_width), np.float32)),
            pooled=pooled,
            negative_pooled=pooled,
            geometry=self._geometry,
            model=self._model,
            request=made,
        )


class NullStage:
    """Stage B or A that answers at once, always with the same small PNG."""

    def __init__(self, _settings: Settings) -> None:
        pixels_hwc = np.zeros((MIN_SIDE_PX, MIN_SIDE_PX, 3), np.uint8)
        self._result = encode_image(pixels_hwc, "png", None)

    async def run(self, *_task: Any) -> AsyncIterator[Message]:
        """Answer."""
        yield Message(type="started")
        yield Message(type="done", result=self._result, seconds=0.0)

    def max_rows(self) -> int:
        """Return how many requests are taken at a time."""
        return 1


@contextmanager
def null_service(*, has_limits: bool = False) -> Iterator[tuple[Running, Settings]]:
    """Run the service with null stages and data of its own.

    Args:
        has_limits: refuse jobs as by default; speed is measured without, or it would end there.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = scratch_settings(Path(folder))
        if not has_limits:
            many = {"max_open_jobs": ANY_NUMBER, "max_open_jobs_per_user": ANY_NUMBER}
            settings = settings.model_copy(update=many)
        running = start(settings, stages=(NullStageC, NullStage, NullStage))
        try:
            yield running, settings
        finally:
            running.stop()


def processes() -> dict[str, psutil.Process]:
    """Return the service's processes by name, one of each."""
    found = {}
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        found.update({name: process for name, mark in VICTIMS.items() if mark in line})
    return found


def resident_mb(process: psutil.Process) -> float:
    """Return a process's resident memory."""
    return float(process.memory_info().rss) / 2**20


def _hold_s(prompt: str) -> float:
    match = re.fullmatch(r"hold ([\d.]+)", prompt)
    return float(match[1]) if match else 0.0
