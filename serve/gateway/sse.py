"""Server-Sent Events as this service sends them: kept alive, and ended if nobody reads them."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator

from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.types import Receive, Scope, Send

KEEP_ALIVE_S = 15.0
SEND_TIMEOUT_S = 30.0
"""A client that takes nothing for this long, while there is something to take, is given up."""

logger = logging.getLogger(__name__)


class EventStream(EventSourceResponse):
    """Server-Sent Events with comments while nothing happens.

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
