"""Server-Sent Events: with keep-alive comments, and closed if the client stops reading."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.types import Receive, Scope, Send

from cascade_core.errors import InvalidRequest
from serve.gateway.events.event_hub import EventHub
from serve.storage.records import EventRow

KEEP_ALIVE_S = 15.0
SEND_TIMEOUT_S = 30.0
"""A stream is closed if its client takes no data for this long while there is data to send."""
_MAX_ID_DIGITS = 18

logger = logging.getLogger(__name__)


class EventStream(EventSourceResponse):
    """Server-Sent Events with comments while no event happens.

    Args:
        messages: what to send; closed when the client has left.
        keep_alive_s: seconds between comments.
        headers: of the answer.
    """

    def __init__(
        self,
        messages: AsyncGenerator[ServerSentEvent],
        keep_alive_s: float,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(
            messages,
            ping=keep_alive_s,
            ping_message_factory=_KeepAlive,
            sep="\n",
            send_timeout=SEND_TIMEOUT_S,
            headers=headers,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream; returns early if the client leaves or stops reading."""
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            logger.info("a client took nothing of its stream for %g s", self.send_timeout)


class _KeepAlive(ServerSentEvent):
    """A comment without the blank line that ends an event.

    After any earlier event, httpx-sse 0.4 takes that blank line for an empty ``message``.
    """

    def encode(self) -> bytes:
        """Return the bytes to send."""
        return b": keep-alive\n"


def parse_event_id(text: str) -> int:
    """Return the number in a header ``Last-Event-ID``; 0 if it is empty.

    Raises:
        InvalidRequest: it is no event's id.
    """
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_ID_DIGITS):
        raise InvalidRequest("Last-Event-ID must be the id of an event", "Last-Event-ID")
    return int(text)


def job_event_stream(
    hub: EventHub, job_id: str, after_id: int, keep_alive_s: float = KEEP_ALIVE_S
) -> EventStream:
    """Return a job's events as Server-Sent Events; an event's id resumes a broken stream."""
    return EventStream(_messages(hub, job_id, after_id), keep_alive_s)


async def _messages(hub: EventHub, job_id: str, after_id: int) -> AsyncGenerator[ServerSentEvent]:
    # aclosing: without it a stream that the client left stays subscribed until it is collected.
    async with aclosing(hub.follow(job_id, after_id)) as events:
        async for event in events:
            data = json.dumps(event_body(event), separators=(",", ":"))
            yield ServerSentEvent(data=data, event=event.type, id=str(event.id), sep="\n")


def event_body(event: EventRow) -> dict[str, Any]:
    """Return an event's HTTP form: its data, with URLs of its preview or image."""
    body = dict(event.data)
    if event.type == "progress" and "preview" in body:
        body["preview_url"] = f"/v1/jobs/{event.job_id}/previews/{body.pop('preview')}"
    if event.type == "image":
        body["url"] = f"/v1/images/{body['id']}"
    return body
