"""Reading and writing what a job has made: a store that is away for a while costs no job."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from cascade_core.errors import NotReady

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0

logger = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")


async def until_ready(do: Callable[[], Awaitable[ResultT]]) -> ResultT:
    """Do something that is safe to repeat until it raises NotReady no more."""
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            return await do()
        except NotReady as error:
            logger.warning("waiting for a store: %s", error)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
