"""What clients have not read yet of the events of the jobs that their streams follow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from serve.gateway.events.coalesced_events import CoalescedEvents
from serve.storage.lineage import Viewpoint
from serve.storage.records import EventRow

MAX_WAITING = 100
"""From so many events in memory on, nothing more is read for a slow client."""
PROGRESS_EVERY_S = 0.25
"""Between two events ``progress`` of one job in the stream of a caller."""


class Stream:
    """Events that one client has not read yet.

    Nothing is read for a client that reads too slowly, so that it costs no memory. When the client
    has read what waits, the hub goes on from there.

    Args:
        waiting: these events.

    Attributes:
        last_ids: by followed job, the last event that the client has, or that waits for it.
    """

    def __init__(self, waiting: asyncio.Queue[EventRow] | CoalescedEvents) -> None:
        self.waiting = waiting
        self.last_ids: dict[str, int] = {}
        self.is_behind = False

    def follow(self, job_id: str, after_id: int) -> None:
        """Take the events of a job from now on, those after an id."""
        self.last_ids[job_id] = after_id

    def has_room(self) -> bool:
        """Return True if events may be read for this stream now; otherwise it is behind."""
        self.is_behind = self.waiting.qsize() >= MAX_WAITING
        return not self.is_behind

    def offer(self, event: EventRow, after_id: int) -> None:
        """Take an event of a read that began after ``after_id``, if nothing is missing before."""
        if not self.is_behind and after_id <= self.last_ids[event.job_id] < event.id:
            self.waiting.put_nowait(event)
            self.last_ids[event.job_id] = event.id


class CallerStream(Stream):
    """The stream of all jobs of a caller.

    Args:
        viewpoint: the jobs that the caller's lists show.
        watch: called with each job that the stream begins to follow.

    Attributes:
        has_joined: set when the stream follows each job that begins from then on.
        unshown: open jobs that the client is still to see as they stand; then they are followed.
    """

    def __init__(self, viewpoint: Viewpoint, watch: Callable[[str], None]) -> None:
        super().__init__(CoalescedEvents(PROGRESS_EVERY_S))
        self.viewpoint = viewpoint
        self.has_joined = asyncio.Event()
        self.unshown: set[str] = set()
        self._watch = watch

    def follow(self, job_id: str, after_id: int) -> None:
        """Take the events of a job from now on, those after an id, and have the job watched."""
        super().follow(job_id, after_id)
        self.unshown.discard(job_id)
        self._watch(job_id)

    def knows(self, job_id: str) -> bool:
        """Return True if the stream follows a job, or will."""
        return job_id in self.last_ids or job_id in self.unshown
