"""Tells the gateways which jobs have new events, so that clients do not wait for the next poll."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from ray import serve as ray_serve
from ray.serve.handle import DeploymentHandle

from serve.batched_calls import BatchedCalls
from serve.jobs.progress.watched_jobs import WatchedJobs

PAUSE_S: Final = 0.025
"""Between two calls: limits their number when many jobs run. A first event does not wait."""


class EventNotifier:
    """Collects jobs with new events and tells the gateways, in one call at a time.

    A call that fails only delays: gateways also read the database from time to time.

    Args:
        tell: tells all gateways to read the events of these jobs.
        watched_jobs: the gateways are not told of the steps of other jobs.
        pause_s: between two calls.
    """

    def __init__(
        self,
        tell: Callable[[list[str]], Awaitable[None]],
        watched_jobs: WatchedJobs,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._watched_jobs = watched_jobs
        self._calls = BatchedCalls(tell, pause_s=pause_s)
        self._loop = asyncio.get_running_loop()

    def notify(self, events: set[tuple[str, str]]) -> None:
        """Tell the gateways soon; returns at once, and may be called from any thread.

        Args:
            events: the job and the type of each.
        """
        is_watched = self._watched_jobs.is_watched
        job_ids = {job_id for job_id, type_ in events if type_ != "progress" or is_watched(job_id)}
        with suppress(RuntimeError):  # the loop is closed, as this process ends
            self._loop.call_soon_threadsafe(self._calls.add, job_ids)


class Gateways:
    """All replicas of an application's deployment that serves HTTP.

    Args:
        app_name: of the application.
    """

    def __init__(self, app_name: str) -> None:
        self._app_name = app_name
        self._handle: DeploymentHandle | None = None
        # Not the process's default executor: while Serve's controller does not answer, each try
        # would occupy one more of its threads.
        self._thread = ThreadPoolExecutor(1, "gateways")

    async def notify_of_events(self, job_ids: list[str]) -> None:
        """Let every gateway read the events of these jobs that its clients follow.

        Raises:
            Exception: Ray's errors; other gateways may have been told.
            CancelledError: a gateway that stops has cancelled the call.
        """
        if self._handle is None:
            # Not `get_deployment_handle`: that would record that Jobs calls Gateway, and in a cycle
            # of deployments Serve does not stop the callers first.
            loop, find = asyncio.get_running_loop(), ray_serve.get_app_handle
            self._handle = await loop.run_in_executor(self._thread, find, self._app_name)
        assert self._handle is not None
        await self._handle.broadcast("notify_of_events", job_ids).results_async()
