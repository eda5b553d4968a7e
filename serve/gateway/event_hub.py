"""Follows the events of jobs: one reader of the database for all streams of the process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager, suppress

from cascade_core.job_states import RESTING_STATES
from serve.storage.database import Database
from serve.storage.records import EventRow

POLL_S = 0.25
"""Jobs tells each gateway which jobs have new events (`serve.jobs.event_notifier`). This is the
delay where that fails, for example while a process restarts."""
_BATCH = 1000
_MAX_WAITING = 100
"""From so many events in memory on, nothing more is read for a slow client."""
_RETRY_S = 1.0

logger = logging.getLogger(__name__)


class EventHub:
    """Follows jobs for any number of streams; reads only while at least one is open.

    It reads each followed job from the last event that its streams have. Event ids are ordered
    within a job; those of different jobs may become visible in any order.

    Args:
        database: any process appends events to it.
        poll_s: pause between two reads of all followed jobs.
    """

    def __init__(self, database: Database, poll_s: float = POLL_S) -> None:
        self._database = database
        self._poll_s = poll_s
        self._streams: dict[str, set[_Stream]] = {}
        self._changed: set[str] = set()
        self._is_notified = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

    def notify(self, job_ids: Iterable[str]) -> None:
        """Read the events of jobs at once; a job that no stream follows is ignored."""
        followed = self._streams.keys() & set(job_ids)
        if followed:
            self._changed |= followed
            self._is_notified.set()

    async def follow(self, job_id: str, after_id: int = 0) -> AsyncGenerator[EventRow]:
        """Yield a job's events after an id, past ones first, and end after its last one.

        A job that waits for its client has no more events either. The stream waits while the
        database does not answer; it does not break off.
        """
        async with self._subscribed(job_id, after_id) as stream:
            while True:
                event = await stream.waiting.get()
                if stream.is_behind and stream.waiting.empty():
                    stream.is_behind = False
                    self.notify([job_id])
                yield event
                if event.type in RESTING_STATES:
                    return

    async def has_events(self, job_id: str, after_id: int) -> bool:
        """Return True if a job has events after an id."""
        return bool(await self._database.run(self._database.events.of_job, job_id, after_id, 1))

    async def wait_until_ended(self, job_id: str, timeout_s: float) -> EventRow | None:
        """Return a job's last event once it has ended or waits; None after ``timeout_s``.

        Every such job has its last event: retention and backups keep it.
        """
        last = None
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), aclosing(self.follow(job_id)) as events:
                async for event in events:
                    last = event
                return last
        return None

    async def close(self) -> None:
        """Stop reading."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
            self._reader = None

    @asynccontextmanager
    async def _subscribed(self, job_id: str, after_id: int) -> AsyncIterator[_Stream]:
        stream = _Stream(after_id)
        self._streams.setdefault(job_id, set()).add(stream)
        self.notify([job_id])
        if self._reader is None:
            self._reader = asyncio.create_task(self._read_until_unfollowed())
        try:
            yield stream
        finally:
            streams = self._streams[job_id]
            streams.discard(stream)
            if not streams:
                del self._streams[job_id]
            if not self._streams:
                self._is_notified.set()  # the reader ends

    async def _read_until_unfollowed(self) -> None:
        clock = asyncio.get_running_loop().time
        poll_at_s = clock()
        while self._streams:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(poll_at_s):
                    await self._is_notified.wait()
            self._is_notified.clear()
            job_ids, self._changed = self._changed, set()
            if clock() >= poll_at_s:
                job_ids, poll_at_s = set(self._streams), clock() + self._poll_s
            try:
                await self._read(job_ids)
            except Exception as error:
                # On any error: ending here would leave the open streams hanging.
                logger.warning("reading events failed; trying again", exc_info=error)
                await asyncio.sleep(_RETRY_S)
                poll_at_s = clock()
        self._reader = None

    async def _read(self, job_ids: Iterable[str]) -> None:
        """Pass the new events of jobs on to their streams."""
        is_complete = False
        while not is_complete and (after_ids := self._after_ids(job_ids)):
            read = self._database.events.of_jobs
            batch = await self._database.run(read, after_ids, _BATCH)
            for event in batch:
                for stream in self._streams.get(event.job_id, ()):
                    stream.offer(event, after_ids[event.job_id])
            is_complete = len(batch) < _BATCH

    def _after_ids(self, job_ids: Iterable[str]) -> dict[str, int]:
        """Return from which event on each job is read: the first one that a stream lacks."""
        after_ids = {}
        for job_id in job_ids:
            streams = self._streams.get(job_id, ())
            if last_ids := [stream.last_id for stream in streams if stream.has_room()]:
                after_ids[job_id] = min(last_ids)
        return after_ids


class _Stream:
    """Events that one client has not read yet.

    Nothing is read for a client that reads too slowly, so that it costs no memory. When the client
    has read what waits, the hub goes on from there.

    Args:
        last_id: the last event that the client has.
    """

    def __init__(self, last_id: int) -> None:
        self.last_id = last_id
        self.is_behind = False
        self.waiting: asyncio.Queue[EventRow] = asyncio.Queue()

    def has_room(self) -> bool:
        """Return True if events may be read for this stream now; otherwise it is behind."""
        self.is_behind = self.waiting.qsize() >= _MAX_WAITING
        return not self.is_behind

    def offer(self, event: EventRow, after_id: int) -> None:
        """Take an event of a read that began after ``after_id``, if nothing is missing before."""
        if not self.is_behind and after_id <= self.last_id < event.id:
            self.waiting.put_nowait(event)
            self.last_id = event.id
