"""Tells the gateways which jobs have new events, so that clients do not wait for the next poll."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from typing import Final

from ray import serve as ray_serve
from ray.serve.handle import DeploymentHandle

PAUSE_S: Final = 0.025
"""Between two calls: limits their number when many jobs run. A first event does not wait."""
TIMEOUT_S: Final = 10.0
"""A gateway that does not answer delays the next call by at most this; all poll meanwhile."""

logger = logging.getLogger(__name__)


class EventNotifier:
    """Collects jobs with new events and tells the gateways, in one call at a time.

    A call that fails only delays: gateways also read the database from time to time.

    Args:
        tell: tells all gateways to read the events of these jobs.
        pause_s: between two calls.
    """

    def __init__(
        self, tell: Callable[[list[str]], Awaitable[None]], pause_s: float = PAUSE_S
    ) -> None:
        self._tell = tell
        self._pause_s = pause_s
        self._loop = asyncio.get_running_loop()
        self._job_ids: set[str] = set()
        self._telling: asyncio.Task[None] | None = None

    def notify(self, job_ids: set[str]) -> None:
        """Tell the gateways soon; returns at once, and may be called from any thread."""
        with suppress(RuntimeError):  # the loop is closed, as this process ends
            # In a context of its own: the call belongs to no request that may be cancelled.
            self._loop.call_soon_threadsafe(self._add, job_ids, context=Context())

    def _add(self, job_ids: set[str]) -> None:
        self._job_ids |= job_ids
        if self._telling is None:
            self._telling = asyncio.create_task(self._tell_all())

    async def _tell_all(self) -> None:
        while self._job_ids:
            job_ids, self._job_ids = sorted(self._job_ids), set()
            try:
                await self._tell(job_ids)
            except Exception as error:
                logger.debug("a gateway was not told of new events", exc_info=error)
            await asyncio.sleep(self._pause_s)
        self._telling = None


class Gateways:
    """All replicas of an application's deployment that serves HTTP.

    Args:
        app_name: of the application.
    """

    def __init__(self, app_name: str) -> None:
        self._app_name = app_name
        self._handle: DeploymentHandle | None = None

    async def read_events(self, job_ids: list[str]) -> None:
        """Let every gateway read the events of these jobs that its clients follow.

        Raises:
            Exception: Ray's errors and TimeoutError; other gateways may have been told.
        """
        if self._handle is None:
            # Not `get_deployment_handle`: that would record that Jobs calls Gateway, and in a cycle
            # of deployments Serve does not stop the callers first.
            self._handle = await asyncio.to_thread(ray_serve.get_app_handle, self._app_name)
        assert self._handle is not None
        await self._handle.broadcast("read_events", job_ids).results_async(timeout_s=TIMEOUT_S)
