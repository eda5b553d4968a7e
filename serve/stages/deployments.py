"""The three stage classes that Ray Serve runs; `serve.app` makes deployments of them.

Each decodes its input, runs it on the stage's replica and encodes the result. Models are imported
where they are loaded, so that each process loads its own stage only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from functools import cached_property, partial
from typing import Any

import torch

from cascade_core.checkpoints.checkpoint import Checkpoint, open_checkpoint
from cascade_core.checkpoints.weights import Placement
from cascade_core.errors import CascadeError, ModelUnavailable
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.handoff import StageBLatent, StageCLatent
from cascade_core.images.image_files import ImageInfo, encode_image, encode_preview
from cascade_core.request import GenerationRequest
from cascade_core.stages.base import Stage
from cascade_core.stages.previews import Previewer, load_previewer, preview_of
from serve.messages import CallContext, StageMessage
from serve.settings import Settings
from serve.stages.gpu_memory import prepare_gpu_memory
from serve.stages.replica import StageReplica
from serve.stages.work_meter import WorkMeter
from serve.telemetry.log import configure_logging
from serve.telemetry.metrics import StageMetrics
from serve.telemetry.tracing import configure_tracing, replica_span
from serve.workload import stage_work

logger = logging.getLogger(__name__)

MAX_ROWS_CPU, MAX_ROWS_CUDA = 1, 4
"""Images per step. A batch gains almost nothing on a CPU. One image of 1024 px fills an H100, so
a few rows suffice: they keep short requests from waiting behind long ones."""

Loader = Callable[[Checkpoint, Placement], Stage[Any, Any, Any]]


class _StageDeployment:
    """The common part of the three: device, replica, metrics, health.

    Args:
        name: ``c``, ``b`` or ``a``.
        settings: which model, on which device.
        load: makes the stage from its checkpoint.
        gpu_share: of one GPU's memory; None: all free memory.
    """

    def __init__(
        self, name: str, settings: Settings, load: Loader, gpu_share: float | None
    ) -> None:
        configure_logging(settings)
        configure_tracing(settings, f"stage-{name}")
        torch.set_num_threads(settings.torch_threads)
        device = settings.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        prepare_gpu_memory(device, gpu_share)
        checkpoint = open_checkpoint(settings.model_source(), STABLE_CASCADE.stage(name).components)
        stage = load(checkpoint, Placement(device=device, dtype=settings.dtype))
        max_rows = settings.max_rows or (MAX_ROWS_CUDA if device == "cuda" else MAX_ROWS_CPU)
        self._name = name
        self._checkpoint = checkpoint
        self._device = device
        self._replica = StageReplica(stage, max_rows)
        self._metrics = StageMetrics(name, settings.hour_price.get(name, 0.0))
        self._meter = WorkMeter(self._replica.busy_s, max_rows)

    async def _stream(
        self,
        task: Any,
        work: float,
        previews: int,
        finish: Callable[[Any], bytes],
        context: CallContext,
    ) -> AsyncIterator[StageMessage]:
        with (
            replica_span(f"replica of stage {self._name}", context) as span,
            self._metrics.request() as request,
            self._meter.image(work) as finished,
        ):
            try:
                async for message in self._replica.run(task, previews):
                    if message["type"] == "started":
                        span.add_event("on the model")
                    if message["type"] == "done":
                        request.done(message["seconds"])
                        finished()
                        span.add_event("off the model")
                        seconds = message["seconds"]
                        logger.info("stage %s: made in %.2f s on the model", self._name, seconds)
                        with self._metrics.encoding():
                            message["result"] = await asyncio.to_thread(finish, message["result"])
                    yield message
            except CascadeError as error:
                logger.warning("stage %s: failed: %s: %s", self._name, error.code, error.message)
                raise

    def max_rows(self) -> int:
        """Return how many images this replica works on at a time."""
        return self._replica.max_rows

    def check_health(self) -> None:
        """Fail if the device hangs, so that Serve replaces this replica."""
        self._replica.check_health()
        stats = self._replica.stats() | self._meter.stats()
        self._metrics.publish(stats, self._replica.busy_s(), self._gpu_memory_bytes())

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Report rows, seconds per work and open work to an autoscaling policy."""
        return self._replica.stats() | self._meter.stats()

    def _gpu_memory_bytes(self) -> int | None:
        """Return the allocator's own count: it needs no answer from a device that may hang."""
        return torch.cuda.memory_reserved() if self._device.startswith("cuda") else None


class StageC(_StageDeployment):
    """Text to composition: a 16-channel latent."""

    def __init__(self, settings: Settings, gpu_share: float | None = None) -> None:
        from cascade_core.conditioning.text import PromptLimit
        from cascade_core.stages.stage_c import StageC as Model

        super().__init__("c", settings, Model.load, gpu_share)
        self._previews = settings.previews
        self._limit = PromptLimit.load(self._checkpoint)

    async def run(
        self, request: dict[str, Any], context: CallContext | None = None
    ) -> AsyncIterator[StageMessage]:
        """Make the Stage C latent of a one-image request; ``done`` carries its wire form."""
        task = GenerationRequest.from_dict(request)
        work = stage_work("c", task)
        stream = self._stream(task, work, self._previews, _encoded, context or {})
        async for message in stream:
            yield message
            # Not before: the first message tells the caller that the work has begun.
            if message["type"] == "started":
                for warning in self._limit.warnings(task):
                    yield StageMessage(type="warning", text=warning)

    async def preview(
        self, latent: bytes, _context: CallContext | None = None
    ) -> AsyncIterator[StageMessage]:
        """Draw a small preview of a latent for checkers; ``done`` carries a WebP file.

        Raises:
            ModelUnavailable: this model has no previewer.
        """
        yield StageMessage(
            type="done", result=await asyncio.to_thread(self._draw, latent), seconds=0.0
        )

    @cached_property
    def _previewer(self) -> Previewer:
        """A second previewer: the stage's own belongs to the model's thread."""
        previewer = load_previewer(self._checkpoint.previewer, torch.device(self._device))
        if previewer is None:
            raise ModelUnavailable(f"{self._checkpoint.id} has no previewer")
        return previewer

    def _draw(self, latent: bytes) -> bytes:
        decoded = StageCLatent.decode(latent)
        pixels_hwc = preview_of(decoded, self._previewer, torch.device(self._device))
        return encode_preview(pixels_hwc)


class StageB(_StageDeployment):
    """Composition to detail: the 4-channel latent that Stage A decodes."""

    def __init__(self, settings: Settings, gpu_share: float | None = None) -> None:
        from cascade_core.stages.stage_b import StageB as Model

        self._previews = min(settings.previews, 1)
        load = partial(Model.load, with_previews=self._previews > 0)
        super().__init__("b", settings, load, gpu_share)

    async def run(
        self, latent: bytes, request: dict[str, Any], context: CallContext | None = None
    ) -> AsyncIterator[StageMessage]:
        """Make the Stage B latent of a stored Stage C latent; ``done`` carries the wire form."""
        from cascade_core.stages.stage_b import StageBTask

        task = StageBTask(StageCLatent.decode(latent), GenerationRequest.from_dict(request))
        work = stage_work("b", task.request)
        async for message in self._stream(task, work, self._previews, _encoded, context or {}):
            yield message


class StageA(_StageDeployment):
    """Detail to pixels to a file; the encoding never runs on the model's thread."""

    def __init__(self, settings: Settings, gpu_share: float | None = None) -> None:
        from cascade_core.stages.stage_a import StageA as Model

        super().__init__("a", settings, Model.load, gpu_share)

    async def run(
        self, latent: bytes, image_id: str, latent_id: str, context: CallContext | None = None
    ) -> AsyncIterator[StageMessage]:
        """Decode a Stage B latent; ``done`` carries the encoded image."""
        task = StageBLatent.decode(latent)
        request = task.request
        info = ImageInfo(image_id=image_id, latent_id=latent_id, request=request, model=task.model)
        finish = partial(encode_image, image_format=request.format, info=info)
        async for message in self._stream(task, stage_work("a", request), 0, finish, context or {}):
            yield message


def _encoded(latent: StageCLatent | StageBLatent) -> bytes:
    return latent.encode()
