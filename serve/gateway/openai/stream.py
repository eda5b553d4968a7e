"""Streams a job's images as OpenAI does: partial images first, then each finished one."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from sse_starlette import ServerSentEvent
from starlette.types import Receive, Scope, Send

from cascade_core.engine.batching import preview_steps
from cascade_core.errors import Cancelled, CascadeError, NotFound
from cascade_core.errors import from_dict as error_from_dict
from cascade_core.families.spec import Family
from cascade_core.images.image_files import convert_image
from cascade_core.request import GenerationRequest
from serve.gateway.dependencies import Services
from serve.gateway.events.sse import EventStream
from serve.gateway.openai.schemas import Usage
from serve.gateway.openai.translation import Output, image_b64, size_text
from serve.gateway.waiting_clients import AcceptedJob
from serve.responses.errors import STATUS, error_body
from serve.storage.blobs.blob_keys import preview_key_from_name
from serve.storage.records import EventRow


def partial_previews(
    request: GenerationRequest,
    partial_images: int,
    previews: int,
    family: Family,
    *,
    is_checked: bool = False,
) -> frozenset[tuple[str, int]]:
    """Return the (stage, step) after which an image's partial images come.

    The last preview of each stage comes first, because it shows the stage's finished work (the
    composition, then the details); the middle preview of each stage follows.

    Args:
        request: of the job.
        partial_images: maximum number.
        previews: how many each stage makes, unless the family allows fewer.
        family: whose stages run.
        is_checked: checkers see the kept output, so that its last preview alone is shown.
    """
    last, middle = [], []
    for stage in family.route(request):
        count, steps = min(previews, stage.max_previews), stage.steps(request)
        if is_checked and stage.keeps_output:
            shown = [steps][:count]
        else:
            shown = sorted(preview_steps(steps, count))
        last += [(stage.name, step) for step in shown[-1:]]
        middle += [(stage.name, step) for step in shown[(len(shown) - 1) // 2 :][:1]]
    return frozenset(list(dict.fromkeys(last + middle))[:partial_images])


class ImageStream(EventStream):
    """Server-Sent Events of a job; a client that leaves early may cancel the job.

    Args:
        services: the job's events and bytes.
        request: of the job.
        accepted: the job.
        output: the form of the images.
        partial_images: maximum number of partial images of each image.
    """

    def __init__(
        self,
        services: Services,
        request: GenerationRequest,
        accepted: AcceptedJob,
        output: Output,
        partial_images: int,
    ) -> None:
        location = {"location": f"/v1/jobs/{accepted.job_id}"}
        super().__init__(self._messages(), services.keep_alive_s, location)
        self._services = services
        self._job_id = accepted.job_id
        self._accepted = accepted
        self._is_over = False
        self._request = request
        self._output = output
        self._wanted = partial_previews(
            request,
            partial_images,
            services.settings.previews,
            services.models.known_or_default(request).family,
            is_checked=services.moderator.sees_previews,
        )
        self._partials: set[tuple[int, str, int]] = set()
        self._counts: Counter[int] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream; a client that leaves before the end may cancel the job."""
        waiting_clients = self._services.waiting_clients
        waiting_clients.join(self._accepted)
        try:
            await super().__call__(scope, receive, send)
        finally:
            waiting_clients.leave(self._accepted, is_answered=self._is_over)

    async def _messages(self) -> AsyncGenerator[ServerSentEvent]:
        async with aclosing(self._services.event_hub.follow(self._job_id)) as events:
            async for event in events:
                body = await self._shown(event)
                if body is not None:
                    data = json.dumps(body, separators=(",", ":"))
                    yield ServerSentEvent(data=data, event=body["type"], sep="\n")
        self._is_over = True

    async def _shown(self, event: EventRow) -> dict[str, Any] | None:
        try:
            return await self._translated(event)
        except CascadeError as error:  # for example, an image was deleted
            return self._error(error.to_dict())

    async def _translated(self, event: EventRow) -> dict[str, Any] | None:
        if event.type == "progress":
            return await self._partial(event)
        if event.type == "image":
            return await self._completed(event)
        if event.type == "failed":
            return self._error(event.data["job"]["error"])
        if event.type == "cancelled":
            return self._error(Cancelled("the job was cancelled").to_dict())
        return None

    async def _partial(self, event: EventRow) -> dict[str, Any] | None:
        data = event.data
        index, stage, step = data["index"], data["stage"], data["step"]
        is_wanted = (stage, step) in self._wanted and (index, stage, step) not in self._partials
        if not is_wanted or "preview" not in data:
            return None
        self._partials.add((index, stage, step))  # a stage that runs again sends it again
        key = preview_key_from_name(self._job_id, data["preview"])
        try:
            preview = await self._services.blobs.get(key)
        except NotFound:
            return None
        convert = self._services.conversions.run
        picture = await convert(convert_image, preview, self._output.image_format)
        self._counts[index] += 1
        return {
            "type": "image_generation.partial_image",
            "b64_json": base64.b64encode(picture).decode(),
            "partial_image_index": self._counts[index] - 1,
            **self._about(event, index),
        }

    async def _completed(self, event: EventRow) -> dict[str, Any]:
        data = event.data
        image = await image_b64(self._services, data["id"], self._request, self._output)
        job = await self._services.database.run(self._services.database.jobs.get, self._job_id)
        return {
            "type": "image_generation.completed",
            "b64_json": image,
            **self._about(event, data["index"]),
            "usage": Usage().model_dump(),
            "image_id": data["id"],
            "latent_id": data["latent_id"],
            "seed": data["seed"],
            "decoder_seed": data["decoder_seed"],
            "warnings": [*(job.warnings if job else ()), *self._output.warnings],
        }

    def _about(self, event: EventRow, index: int) -> dict[str, Any]:
        return {
            "created_at": int(event.at.timestamp()),
            "size": size_text(self._request),
            "quality": self._output.drawn_quality,
            "background": "opaque",
            "output_format": self._output.image_format,
            "job_id": self._job_id,
            "image_index": index,
        }

    def _error(self, body: dict[str, Any]) -> dict[str, Any]:
        error = error_from_dict(body)
        shown = error_body(STATUS[error.code], error.code, error.message, error.field)
        return {"type": "error", **shown, "job_id": self._job_id}
