"""Events that wait for a client that follows many jobs, with few of their steps."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from serve.storage.records import EventRow


class CoalescedEvents:
    """A queue of the events of many jobs, with at most one ``progress`` of each per pause.

    Of each image the newest step waits, and the images of a job take turns. All other events leave
    the queue at once and in their order; a step that such an event makes obsolete is dropped. So
    the ids of a job's events do not always increase.

    Args:
        pause_s: between two steps of a job.
        clock: seconds, monotonic.
    """

    def __init__(self, pause_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._pause_s = pause_s
        self._clock = clock
        self._others: deque[EventRow] = deque()
        self._steps: dict[str, dict[int, EventRow]] = {}  # by job and image, longest wait first
        self._turns: list[tuple[float, str]] = []  # a heap: from when on a job may send a step
        self._has_turn: set[str] = set()
        self._is_changed = asyncio.Event()

    def put_nowait(self, event: EventRow) -> None:
        """Add an event."""
        if event.type == "progress":
            self._put_step(event)
        else:
            self._drop_steps(event)
            self._others.append(event)
        self._is_changed.set()

    async def get(self) -> EventRow:
        """Remove and return the next event; waits until there is one that may leave."""
        while True:
            if self._others:
                return self._others.popleft()
            if (step := self._take_step()) is not None:
                return step
            wait_s = self._turns[0][0] - self._clock() if self._turns else None
            self._is_changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._is_changed.wait()

    def qsize(self) -> int:
        """Return how many events wait; steps do not count, as there is one per image at most."""
        return len(self._others)

    def empty(self) -> bool:
        """Return True if no event waits but steps."""
        return not self._others

    def _put_step(self, event: EventRow) -> None:
        job_id, index = event.job_id, event.data["index"]
        of_job = self._steps.setdefault(job_id, {})
        earlier = of_job.get(index)
        of_job[index] = event if earlier is None else _with_newest_preview(earlier, event)
        if job_id not in self._has_turn:
            self._has_turn.add(job_id)
            heapq.heappush(self._turns, (self._clock(), job_id))

    def _drop_steps(self, event: EventRow) -> None:
        """Drop the steps of the image that an event tells of, or of its job if it names none."""
        of_job = self._steps.get(event.job_id, {})
        if "index" in event.data:
            of_job.pop(event.data["index"], None)
        else:
            of_job.clear()
        if not of_job:
            self._steps.pop(event.job_id, None)

    def _take_step(self) -> EventRow | None:
        """Remove and return a step that may leave now, if there is one."""
        now_s = self._clock()
        while self._turns and self._turns[0][0] <= now_s:
            _, job_id = heapq.heappop(self._turns)
            of_job = self._steps.get(job_id)
            if of_job is None:  # the job has told nothing for a pause
                self._has_turn.discard(job_id)
                continue
            event = of_job.pop(next(iter(of_job)))
            if not of_job:
                del self._steps[job_id]
            heapq.heappush(self._turns, (now_s + self._pause_s, job_id))
            return event
        return None


def _with_newest_preview(earlier: EventRow, event: EventRow) -> EventRow:
    """Return an event that replaces an earlier one of the same image."""
    if "preview" in event.data or "preview" not in earlier.data:
        return event
    return replace(event, data=event.data | {"preview": earlier.data["preview"]})
