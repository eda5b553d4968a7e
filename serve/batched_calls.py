"""Passes the ids of many jobs on to another deployment, in few calls."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextvars import Context
from typing import Final

TIMEOUT_S: Final = 10.0
"""A replica that does not answer delays the next call by at most this."""

logger = logging.getLogger(__name__)


class BatchedCalls:
    """Collects ids of jobs and passes them on in the background, in one call at a time.

    The ids of a call that fails are lost; the next call is made all the same. Of failures without a
    success between them, the first is logged as a warning.

    Args:
        call: takes sorted ids; may raise any error.
        pause_s: between two calls. A first id does not wait.
        timeout_s: after which a call has failed.
    """

    def __init__(
        self,
        call: Callable[[list[str]], Awaitable[None]],
        *,
        pause_s: float = 0.0,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._call = call
        self._pause_s = pause_s
        self._timeout_s = timeout_s
        self._job_ids: set[str] = set()
        self._calling: asyncio.Task[None] | None = None
        self._is_failing = False

    def add(self, job_ids: Iterable[str]) -> None:
        """Pass ids on soon; returns at once. Call it in the event loop."""
        self._job_ids.update(job_ids)
        if self._job_ids and self._calling is None:
            # In a context of its own: the call belongs to no request that may be cancelled.
            self._calling = asyncio.create_task(self._call_all(), context=Context())

    async def _call_all(self) -> None:
        while self._job_ids:
            job_ids, self._job_ids = sorted(self._job_ids), set()
            await self._try_to_call(job_ids)
            await asyncio.sleep(self._pause_s)
        self._calling = None

    async def _try_to_call(self, job_ids: list[str]) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._call(job_ids)
        except (Exception, asyncio.CancelledError) as error:
            if task.cancelling():  # this process ends
                raise
            # Ray also raises CancelledError, for a call that a stopping replica has cancelled.
            level = logging.DEBUG if self._is_failing else logging.WARNING
            logger.log(level, "%s failed", self._call.__qualname__, exc_info=error)
            self._is_failing = True
        else:
            self._is_failing = False
