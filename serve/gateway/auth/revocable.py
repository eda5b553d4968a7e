"""A request that goes on for a while, and the key that let it in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.types import Message, Receive, Send


class Visit:
    """An open request of a key; if the key is revoked meanwhile, its client counts as gone.

    Args:
        may_stay: tells whether the key is still valid.
        recheck_s: how often to ask, while nothing comes from the client.
    """

    def __init__(self, may_stay: Callable[[], Awaitable[bool]], recheck_s: float) -> None:
        self._may_stay = may_stay
        self._recheck_s = recheck_s
        self._is_over = False
        self._is_answering = False

    def watched(self, receive: Receive) -> Receive:
        """Return a ``receive`` that reports a disconnect once the key is revoked."""

        async def receive_or_leave() -> Message:
            coming = asyncio.ensure_future(receive())
            try:
                while not self._is_over:
                    if (await asyncio.wait({coming}, timeout=self._recheck_s))[0]:
                        return coming.result()
                    self._is_over = not await self._may_stay()
                return {"type": "http.disconnect"}
            finally:
                coming.cancel()

        return receive_or_leave

    def noted(self, send: Send) -> Send:
        """Return a ``send`` by which we know whether the answer is complete."""

        async def send_and_note(message: Message) -> None:
            is_start = message["type"] == "http.response.start"
            self._is_answering = is_start or message.get("more_body", False)
            await send(message)

        return send_and_note

    async def close(self, send: Send) -> None:
        """End a stream that the application left open because the key was revoked."""
        if self._is_over and self._is_answering:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
