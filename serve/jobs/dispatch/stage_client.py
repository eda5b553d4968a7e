"""Calls a stage for a job: progress, cancellation, and another try when a replica dies."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from opentelemetry import trace
from ray.serve.handle import DeploymentHandle

from cascade_core.errors import CannotBeServed, CascadeError, NotReady, StageLost
from serve.handle_errors import translated
from serve.messages import STALL_LIMIT_S, StageMessage
from serve.telemetry.tracing import pack_context

MAX_TRIES = 3
"""A stage is called so many times before a retryable failure is final. A replica that ran out of
memory refuses that size for a while, so that the next call goes to another replica if there is
one."""
MAX_CRASHES = 2
"""Replicas that one request may crash. The fair queue keeps requests from waiting in a replica, so
the request that is there when the replica crashes may be the cause."""
RETRY_PAUSE_S = 0.5
"""Time for the router to learn that a replica crashed; the next call then waits for the
replacement."""
NOT_READY_PAUSE_S = 1.0
"""Between calls while replicas are not ready, as one that lost its device is until it is
replaced."""
SILENCE_LIMIT_S = 2 * STALL_LIMIT_S
"""A call that had begun is lost after so long without a message: Serve replaces a replica whose
device hangs long before."""

logger = logging.getLogger(__name__)

OnMessage = Callable[[StageMessage], None]
OnFailure = Callable[[str, str], None]
OnCrash = Callable[[], Awaitable[int]]
"""Records that a replica was lost while it had the call; returns how many have been lost."""


@dataclass(frozen=True, slots=True)
class StageResult:
    """What a stage returned and the seconds its model took.

    Attributes:
        thumbnails: of a picture, WebP files by their longest side in pixels.
        watermark: the algorithm of a picture's watermark; empty: it has none.
    """

    data: bytes
    seconds: float
    thumbnails: Mapping[int, bytes] = field(default_factory=dict)
    watermark: str = ""


class StageClient:
    """One stage deployment, as a job calls it.

    Args:
        name: of the stage.
        handle: the stage's deployment.
        method: the method of the deployment to call; it also gets the context of the call.
        on_failure: called with the stage and the error's code after each try that failed.
    """

    def __init__(
        self,
        name: str,
        handle: DeploymentHandle,
        method: str = "run",
        on_failure: OnFailure | None = None,
    ) -> None:
        self.name = name
        self._method = method
        self._on_failure = on_failure
        self._handle = handle.options(stream=True)

    async def call(
        self, *args: Any, on_message: OnMessage, on_crash: OnCrash | None = None
    ) -> StageResult:
        """Run the stage once to the end; retry failures that are retryable.

        Cancelling this coroutine cancels the work on the replica, within two steps. While replicas
        are not ready it asks again; the job's deadline bounds that. Without ``on_crash``
        only the crashes during this very call count.

        Raises:
            CascadeError: the stage's own error after the last try; StageLost when two replicas
                were lost while they had this request.
        """
        tries = crashes = 0
        while True:
            try:
                return await self._once(*args, on_message=on_message)
            except Exception as error:
                failure, cause = self._failed(error), error
            if isinstance(failure, StageLost):
                crashes = await on_crash() if on_crash else crashes + 1
            if isinstance(failure, NotReady):  # no replica took the call
                pause_s = NOT_READY_PAUSE_S
            else:
                tries += 1
                pause_s = RETRY_PAUSE_S * tries
            if not failure.retryable or tries == MAX_TRIES or crashes >= MAX_CRASHES:
                raise failure from cause
            logger.warning("stage %s: try %d failed: %s", self.name, tries, failure.code)
            trace.get_current_span().add_event("try failed", {"code": failure.code})
            await asyncio.sleep(pause_s)

    def _failed(self, error: Exception) -> CascadeError:
        """Translate and report why a try failed."""
        failure = _translated(error, self.name)
        if self._on_failure is not None:
            self._on_failure(self.name, failure.code)
        return failure

    async def _once(self, *args: Any, on_message: OnMessage) -> StageResult:
        stream = getattr(self._handle, self._method).remote(*args, pack_context())
        silence_s = None  # before it begins it may wait for a replica, which may have to start
        try:
            while True:
                message = await _next(stream, silence_s)
                if message["type"] == "done":
                    return StageResult(
                        message["result"],
                        message["seconds"],
                        message.get("thumbnails", {}),
                        message.get("watermark", ""),
                    )
                on_message(message)
                silence_s = SILENCE_LIMIT_S
        except BaseException:
            stream.cancel()
            raise


async def _next(stream: AsyncIterator[StageMessage], silence_s: float | None) -> StageMessage:
    try:
        async with asyncio.timeout(silence_s):
            return await anext(stream)
    except TimeoutError:
        raise StageLost(f"the replica sent nothing for {silence_s} s") from None
    except StopAsyncIteration:
        raise StageLost("the replica ended without a result") from None


def _translated(error: Exception, stage: str) -> CascadeError:
    lost = StageLost("the replica died or became unreachable while it worked")
    unavailable = CannotBeServed(f"the replicas of stage {stage.upper()} do not start")
    return translated(error, lost, unavailable)
