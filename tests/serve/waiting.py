"""Waiting for what has no event of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.limits import HANG_S


async def until(is_so: Callable[[], bool]) -> None:
    """Return as soon as the condition holds; fails if it takes too long."""
    async with asyncio.timeout(HANG_S):
        while not is_so():  # noqa: ASYNC110 - what is awaited has no event of its own
            await asyncio.sleep(0.01)
