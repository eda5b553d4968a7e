"""The class that Ray Serve runs for every stage; `serve.app` makes one deployment of it per stage.

A replica decodes its input, runs it on the stage's model and encodes the result. The family says
which class the model has. That class is imported where it is loaded: the process that builds the
application imports this module, too, and needs no model library.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import fields
from functools import cached_property, partial
from typing import Any

from cascade_core.checkpoints.checkpoint import open_checkpoint
from cascade_core.errors import CascadeError, NotReady
from cascade_core.images.image_files import (
    ImageInfo,
    encode_image,
    encode_preview,
    encode_thumbnails,
)
from cascade_core.images.pixels import Rgb
from cascade_core.operations.fields import ImageFormat
from cascade_core.request import GenerationRequest
from cascade_core.stages.base import DrawOutput, Preparation
from serve.messages import CallContext, ImageIds, StageMessage
from serve.provenance.watermarks import load_watermarker, watermarked
from serve.served_models import ServedModel
from serve.settings import Settings
from serve.stages.replica import PROGRESS_INTERVAL_S, UNWATCHED_INTERVAL_S, StageReplica
from serve.stages.work_meter import WorkMeter
from serve.storage.blobs.blob_keys import THUMBNAIL_SIDES_PX
from serve.telemetry.log import configure_logging
from serve.telemetry.metrics import StageMetrics
from serve.telemetry.tracing import configure_tracing, replica_span
from serve.watermarker import Watermarker

logger = logging.getLogger(__name__)


class StageDeployment:
    """A replica of one stage: device, model, metrics, health.

    Args:
        model: whose stage it is.
        name: the stage's name in its family.
        settings: on which device.
        gpu_share: of one GPU's memory; None: all free memory.
    """

    def __init__(
        self, model: ServedModel, name: str, settings: Settings, gpu_share: float | None = None
    ) -> None:
        # Here, as they import torch.
        from cascade_core.checkpoints.weights import Placement, model_ref
        from serve.stages.device import prepare_device, reserved_bytes

        configure_logging(settings)
        self._family = family = model.family
        self._spec = family.stage(name)
        configure_tracing(settings, f"stage-{self._spec.key}")
        device = prepare_device(settings, gpu_share)
        self._previews = min(settings.previews, self._spec.max_previews)
        self._model = self._spec.model_class()
        self._checkpoint = open_checkpoint(model.source, self._spec.components)
        self._model_ref = model_ref(self._checkpoint)
        aliases = [] if self._spec.model_suffix else settings.alias_names
        self._model_names = frozenset([self._checkpoint.id, *aliases])
        stage = self._model.load(
            self._checkpoint,
            Placement(device=device, dtype=settings.dtype),
            with_previews=self._previews > 0,
        )
        self._warnings = self._model.load_warnings(self._checkpoint)
        max_rows = settings.max_rows or family.max_rows(device, self._checkpoint.max_rows)[name]
        stage.prepare(
            Preparation(
                sizes=settings.warm_up_sizes_px,
                max_rows=max_rows,
                compiles=settings.compile,
                graph_bytes=round(settings.cuda_graphs_gb * 1e9),
            )
        )
        self._prompts_in_files = settings.prompts_in_files
        self._watermarker = None if self._spec.output else load_watermarker(settings)
        self._device = device
        self._gpu_memory_bytes = partial(reserved_bytes, device)
        self._replica = StageReplica(stage, max_rows)
        self._metrics = StageMetrics(self._spec.key, settings.hour_price.get(name, 0.0))
        self._meter = WorkMeter(self._replica.busy_s, max_rows)

    async def run(
        self,
        request: dict[str, Any],
        source: bytes | None,
        ids: ImageIds,
        is_watched: bool = True,
        context: CallContext | None = None,
    ) -> AsyncIterator[StageMessage]:
        """Run the stage for a one-image request; ``done`` carries the bytes of its result.

        Args:
            request: of the image.
            source: wire form of the hand-off of the stage before, or of the stored latent or upload
                that the request starts from; None if there is none of them.
            ids: of the image.
            is_watched: a client can see previews; otherwise none are drawn, and fewer steps told.
            context: of the call.

        Raises:
            NotReady: in a roll-out, it is of a later release, or for the deployment's other model.
        """
        self._check_known(request)
        made = GenerationRequest.from_dict(request)
        decoded = self._decoded(source, made)
        task = self._model.make_task(decoded, made)
        previews = self._previews if is_watched else 0
        interval_s = PROGRESS_INTERVAL_S if is_watched else UNWATCHED_INTERVAL_S
        messages = self._replica.run(task, previews, interval_s)
        async for message in self._stream(messages, made, self._encoder(made, ids), context or {}):
            yield message
            # Not before: the first message tells the caller that the work has begun.
            if message["type"] == "started":
                for warning in self._warnings(made, decoded):
                    yield StageMessage(type="warning", text=warning)

    async def preview(
        self, output: bytes, _context: CallContext | None = None
    ) -> AsyncIterator[StageMessage]:
        """Draw a small preview of this stage's output for checkers; ``done`` carries a WebP file.

        Raises:
            ModelUnavailable: this model has no previewer.
        """
        drawn = await asyncio.to_thread(self._drawn, output)
        yield StageMessage(type="done", result=drawn, seconds=0.0)

    def _check_known(self, request: Mapping[str, Any]) -> None:
        """Check that this release knows all of a request, and that it is for this model.

        The replicas that follow this one can run it. One of an earlier release names no model.
        """
        if request.keys() - {field.name for field in fields(GenerationRequest)}:
            raise NotReady("this replica is of an earlier release than the request")
        name = request.get("model")
        if name is not None and name not in self._model_names:
            raise NotReady(f"this replica is of {self._checkpoint.id}, not of {name}")

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

    async def _stream(
        self,
        messages: AsyncIterator[StageMessage],
        request: GenerationRequest,
        encode: Callable[[Any], StageMessage],
        context: CallContext,
    ) -> AsyncIterator[StageMessage]:
        name = self._spec.name
        with (
            replica_span(f"replica of stage {name}", context) as span,
            self._metrics.request() as measured,
            self._meter.image(self._spec.work(request)) as finished,
        ):
            try:
                async for message in messages:
                    if message["type"] == "started":
                        span.add_event("on the model")
                    if message["type"] == "done":
                        measured.done(message["seconds"])
                        finished()
                        span.add_event("off the model")
                        logger.info(
                            "stage %s: made in %.2f s on the model", name, message["seconds"]
                        )
                        with self._metrics.encoding():
                            message.update(await asyncio.to_thread(encode, message["result"]))
                    yield message
            except CascadeError as error:
                logger.warning("stage %s: failed: %s: %s", name, error.code, error.message)
                raise

    def _decoded(self, source: bytes | None, request: GenerationRequest) -> Any:
        source_class = self._family.source_class(self._spec, request)
        if source is None or source_class is None:
            return None
        return source_class.decode(source)

    def _encoder(self, request: GenerationRequest, ids: ImageIds) -> Callable[[Any], StageMessage]:
        """Return what encodes the stage's result; it never runs on the model's thread."""
        if self._spec.output:
            return _encoded
        info = ImageInfo(
            request=request,
            model=self._model_ref,
            family=self._family,
            has_texts=self._prompts_in_files,
            **ids,
        )
        return partial(
            _encoded_picture,
            image_format=request.format,
            info=info,
            watermarker=self._watermarker,
        )

    @cached_property
    def _draw(self) -> DrawOutput:
        drawer: DrawOutput = self._model.load_output_drawer(self._checkpoint, self._device)
        return drawer

    def _drawn(self, output: bytes) -> bytes:
        return encode_preview(self._draw(self._spec.output_class().decode(output)))


def _encoded(handoff: Any) -> StageMessage:
    return StageMessage(result=handoff.encode())


def _encoded_picture(
    pixels_hwc: Rgb, image_format: ImageFormat, info: ImageInfo, watermarker: Watermarker | None
) -> StageMessage:
    pixels_hwc = watermarked(watermarker, pixels_hwc, info.image_id)
    file = encode_image(pixels_hwc, image_format, info)
    message = StageMessage(result=file, thumbnails=_thumbnails(pixels_hwc))
    if watermarker is not None:
        message["watermark"] = watermarker.algorithm
    return message


def _thumbnails(pixels_hwc: Rgb) -> dict[int, bytes]:
    """Return a picture's thumbnails; none if that fails, as they can be made later."""
    try:
        return encode_thumbnails(pixels_hwc, THUMBNAIL_SIDES_PX)
    except Exception:  # whatever it is, the picture itself is made
        logger.exception("a picture has no thumbnails yet")
        return {}
