"""A stand-in for the service's client that keeps preferences in memory."""

from __future__ import annotations

import asyncio
from typing import Any


class MemoryPreferences:
    """Stores preferences like the service; each request yields to the event loop."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str | None], dict[str, Any]] = {}
        self.error: Exception | None = None
        self.asked = 0

    async def preference(self, name: str, user: str | None = None) -> dict[str, Any] | None:
        self.asked += 1
        found = self.kept.get((name, user))
        await asyncio.sleep(0)
        return found

    async def set_preference(
        self, name: str, value: dict[str, Any], user: str | None = None
    ) -> None:
        await asyncio.sleep(0)
        self.kept[name, user] = value
        if self.error is not None:
            raise self.error

    async def delete_preference(self, name: str) -> None:
        del self.kept[name, None]
