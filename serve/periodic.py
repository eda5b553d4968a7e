"""Runs a function again and again for as long as a process lives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)


async def every(pause_s: float, do: Callable[[], Awaitable[None]]) -> None:
    """Call a function every ``pause_s`` seconds; a failure is logged, and the calls go on."""
    while True:
        try:
            await do()
        except Exception:
            logger.exception("%s failed; trying again", do.__qualname__)
        await asyncio.sleep(pause_s)
