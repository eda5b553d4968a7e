"""One stage in one process: loads, warms up, then answers requests with a stream of messages.

Imports no Ray, so it is tested without a cluster. The caller receives small dicts: ``started``,
``step`` and, last, ``done``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cascade_core.engine.engine import StepEngine
from cascade_core.engine.events import Event, Failed, Finished, Started, Stepped
from cascade_core.errors import NotReady
from cascade_core.images.image_files import encode_preview
from cascade_core.stages.base import Stage
from serve.messages import STALL_LIMIT_S, StageMessage

PROGRESS_INTERVAL_S: Final = 0.2
"""Steps of a small model take milliseconds; one message a step would cost more than the step."""
UNWATCHED_INTERVAL_S: Final = 1.0
"""Between the messages of an image that no client watches: each costs Jobs a write."""


class StageReplica:
    """A warmed-up stage and its step engine.

    Args:
        stage: loaded, not yet warmed up.
        max_rows: how many images may share one step.

    Raises:
        CascadeError: the warm-up failed; the replica must not be used.
    """

    def __init__(self, stage: Stage[Any, Any, Any], max_rows: int) -> None:
        self.max_rows = max_rows
        self._engine = StepEngine(stage, max_rows)
        self._engine.start()

    async def run(
        self, task: Any, previews: int = 0, interval_s: float = PROGRESS_INTERVAL_S
    ) -> AsyncIterator[StageMessage]:
        """Run one task; closing or cancelling the iterator frees its row within two steps.

        Args:
            task: in the form that the stage admits.
            previews: how many preview pictures to make meanwhile.
            interval_s: shortest time between two messages, unless a preview is in them.

        Yields:
            ``started`` once, ``step`` now and then, ``done`` last.

        Raises:
            CascadeError: the reason of failure that the engine reports.
        """
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event] = asyncio.Queue()
        is_due = _Throttle(interval_s)

        def emit(event: Event) -> None:
            if is_due(event):
                with suppress(RuntimeError):  # the loop is gone when the replica shuts down
                    loop.call_soon_threadsafe(events.put_nowait, event)

        work = self._engine.submit(task, emit, previews)
        try:
            while True:
                event = await events.get()
                if isinstance(event, Failed):
                    raise event.error
                if isinstance(event, Finished):
                    yield StageMessage(type="done", result=event.result, seconds=event.seconds)
                    return
                yield await _message(event)
        finally:
            work.cancel()

    def stats(self) -> dict[str, float]:
        """Return rows running, waiting and worth a step, and seconds per step, for metrics."""
        stats = self._engine.stats()
        return {
            "rows_running": float(stats.rows_running),
            "rows_waiting": float(stats.rows_waiting),
            "seconds_per_step": stats.seconds_per_step,
            "knee_rows": float(stats.knee_rows),
        }

    def busy_s(self) -> float:
        """Return how many seconds the model's thread has worked until now."""
        stats = self._engine.stats()
        return stats.stage_s + stats.own_s

    def check_health(self) -> None:
        """Check that the engine is alive and the device does not hang.

        Raises:
            NotReady: the model's thread ended, or rows have been under way for
                :data:`serve.messages.STALL_LIMIT_S` without a step.
        """
        if not self._engine.is_alive():
            raise NotReady("the model's thread ended")
        busy = self._engine.stats().rows_running > 0
        if busy and self._engine.last_progress_age_s() > STALL_LIMIT_S:
            raise NotReady(f"no step finished within {STALL_LIMIT_S:.0f} s")

    def close(self) -> None:
        """Stop the engine; tasks that are still under way fail with NotReady."""
        self._engine.close()


class _Throttle:
    """Drops steps that follow each other too fast; events with a preview always pass.

    It decides on the model's thread, as waking the event loop at every step slows the model.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._sent_s = 0.0

    def __call__(self, event: Event) -> bool:
        now_s = time.monotonic()
        is_due = now_s - self._sent_s >= self._interval_s
        if isinstance(event, Stepped) and event.preview is None and not is_due:
            return False
        self._sent_s = now_s
        return True


async def _message(event: Started | Stepped) -> StageMessage:
    if isinstance(event, Started):
        return StageMessage(type="started")
    preview = await _encoded(event.preview)
    return StageMessage(type="step", step=event.step, steps=event.steps, preview=preview)


async def _encoded(pixels_hwc: npt.NDArray[np.uint8] | None) -> bytes | None:
    if pixels_hwc is None:
        return None
    return await asyncio.to_thread(encode_preview, pixels_hwc)
