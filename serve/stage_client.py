"""Calling a stage from a job: progress, cancellation, and another try when a replica dies."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.serve.handle import DeploymentHandle

from cascade_core.errors import CascadeError, Internal, StageLost
from serve.replica import Message

MAX_TRIES = 3
MAX_DEATHS = 2
"""Replicas that may die of one request; turns keep requests from waiting in a replica, so the one
that is there when it dies may be the cause."""
RETRY_PAUSE_S = 0.5
"""Time for the router to learn that a replica died; the next call then waits for its successor."""

logger = logging.getLogger(__name__)

OnMessage = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class StageResult:
    """What a stage gave and the seconds its model took."""

    data: bytes
    seconds: float


class StageClient:
    """One stage deployment as seen by a job.

    Args:
        name: ``c``, ``b`` or ``a``.
        handle: the stage's deployment.
        method: which of its methods to call.
    """

    def __init__(self, name: str, handle: DeploymentHandle, method: str = "run") -> None:
        self.name = name
        self._method = method
        self._handle = handle.options(stream=True)

    async def call(self, *args: Any, on_message: OnMessage) -> StageResult:
        """Run the stage once to the end, with more tries on retryable failures.

        Cancelling this coroutine cancels the work on the replica, within one step.

        Raises:
            CascadeError: the stage's own error after the last try; StageLost when two replicas
                have died while they had this request.
        """
        tries = deaths = 0
        while True:
            try:
                return await self._once(*args, on_message=on_message)
            except Exception as error:
                ours = _translated(error)
                tries += 1
                deaths += isinstance(error, RayActorError)
                if not ours.retryable or tries == MAX_TRIES or deaths == MAX_DEATHS:
                    raise ours from error
                logger.warning("stage %s: try %d failed: %s", self.name, tries, ours.code)
            await asyncio.sleep(RETRY_PAUSE_S * tries)

    async def _once(self, *args: Any, on_message: OnMessage) -> StageResult:
        stream = getattr(self._handle, self._method).remote(*args)
        try:
            async for message in stream:
                if message["type"] == "done":
                    return StageResult(message["result"], message["seconds"])
                await on_message(message)
        except asyncio.CancelledError:
            stream.cancel()
            raise
        raise StageLost(f"stage {self.name} ended without a result")


def _translated(error: Exception) -> CascadeError:
    """Turn what a handle raises into one of our errors."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    if isinstance(cause, CascadeError):
        return cause
    if isinstance(error, RayActorError):
        return StageLost("the replica died while it worked")
    if isinstance(error, RayError) and not isinstance(error, RayTaskError):
        return StageLost(f"the replica became unreachable: {type(error).__name__}")
    logger.error("a stage failed unexpectedly", exc_info=error)
    return Internal("a stage failed unexpectedly")
