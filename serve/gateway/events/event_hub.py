"""Follows the events of jobs: one reader of the database for all streams of the process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress

from cascade_core.job_states import RESTING_STATES, TERMINAL_STATES
from serve.gateway.events.new_jobs import NewJobs
from serve.gateway.events.streams import CallerStream, Stream
from serve.storage.database import Database
from serve.storage.records import EventRow

POLL_S = 0.25
"""Jobs tells each gateway which jobs have new events (`serve.jobs.event_notifier`). This is the
delay where that fails, for example while a process restarts. Of a job that another gateway has
accepted, this one learns by polling alone."""
_BATCH = 1000
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
        self._streams: dict[str, set[Stream]] = {}
        self._changed: set[str] = set()
        self._callers: set[CallerStream] = set()
        self._new_jobs = NewJobs(database)
        self._is_to_look = False
        self._is_notified = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

    def notify(self, job_ids: Iterable[str]) -> None:
        """Read the events of jobs at once; a job that no stream follows is ignored."""
        followed = self._streams.keys() & set(job_ids)
        if followed:
            self._changed |= followed
            self._is_notified.set()

    def notify_of_new_job(self) -> None:
        """Look for new jobs at once; without streams of callers nothing happens."""
        if self._callers:
            self._is_to_look = True
            self._is_notified.set()

    async def follow(self, job_id: str, after_id: int = 0) -> AsyncGenerator[EventRow]:
        """Yield a job's events after an id, past ones first, and end after its last one.

        A job that waits for its client has no more events either. The stream waits while the
        database does not answer; it does not break off.
        """
        async with aclosing(self.follow_all({job_id: after_id})) as events:
            async for event in events:
                yield event

    async def follow_all(self, after_ids: Mapping[str, int]) -> AsyncGenerator[EventRow]:
        """Yield the events of several jobs, as :meth:`follow` does, and end after the last job's.

        Args:
            after_ids: by job, the id of the event after which it is followed.
        """
        stream, going_on = Stream(asyncio.Queue()), set(after_ids)
        for job_id, after_id in after_ids.items():
            self.add(stream, job_id, after_id)
        try:
            while going_on:
                event = await self.next_event(stream)
                yield event
                if event.type in RESTING_STATES:
                    going_on.discard(event.job_id)
        finally:
            self._leave(stream)

    @asynccontextmanager
    async def joined(self, stream: CallerStream) -> AsyncIterator[None]:
        """In this block, a caller's stream follows each job that begins, from its first event on.

        Jobs that began before are not followed unless :meth:`add` names them.
        """
        self._callers.add(stream)
        self.notify_of_new_job()
        self._read_on()
        try:
            await stream.has_joined.wait()
            yield
        finally:
            self._callers.discard(stream)
            if not self._callers:
                self._new_jobs = NewJobs(self._database)
            self._leave(stream)

    def add(self, stream: Stream, job_id: str, after_id: int) -> None:
        """Let a stream follow a job too, from the events after an id on."""
        stream.follow(job_id, after_id)
        self._streams.setdefault(job_id, set()).add(stream)
        self.notify([job_id])
        self._read_on()

    async def next_event(self, stream: Stream) -> EventRow:
        """Return the next event of a stream; waits for it. A job that has ended is not followed."""
        event = await stream.waiting.get()
        if event.type in TERMINAL_STATES:
            self._remove(stream, event.job_id)
        if stream.is_behind and stream.waiting.empty():
            stream.is_behind = False
            self.notify(stream.last_ids)
        return event

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

    def _leave(self, stream: Stream) -> None:
        for job_id in tuple(stream.last_ids):
            self._remove(stream, job_id)
        if not self._streams:
            self._is_notified.set()  # the reader ends

    def _remove(self, stream: Stream, job_id: str) -> None:
        del stream.last_ids[job_id]
        streams = self._streams[job_id]
        streams.discard(stream)
        if not streams:
            del self._streams[job_id]

    def _read_on(self) -> None:
        if self._reader is None:
            self._reader = asyncio.create_task(self._read_until_unfollowed())

    async def _read_until_unfollowed(self) -> None:
        clock = asyncio.get_running_loop().time
        poll_at_s = clock()
        while self._streams or self._callers:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(poll_at_s):
                    await self._is_notified.wait()
            self._is_notified.clear()
            job_ids, self._changed = self._changed, set()
            if clock() >= poll_at_s:
                job_ids, poll_at_s = set(self._streams), clock() + self._poll_s
                self._is_to_look = True
            try:
                await self._look()
                await self._read(job_ids)
            except Exception as error:
                # On any error: ending here would leave the open streams hanging.
                logger.warning("reading events failed; trying again", exc_info=error)
                await asyncio.sleep(_RETRY_S)
                poll_at_s = clock()
        self._reader = None

    async def _look(self) -> None:
        """Let the streams of callers follow the jobs that have begun."""
        streams = tuple(self._callers)
        if not (self._is_to_look and streams):
            return
        self._is_to_look = False
        new = await self._new_jobs.look({stream.viewpoint for stream in streams})
        for stream in self._callers.intersection(streams):
            for job_id, owner in new.items():
                is_new = stream.has_joined.is_set() and not stream.knows(job_id)
                if is_new and stream.viewpoint.shows(owner):
                    self.add(stream, job_id, 0)
            stream.has_joined.set()

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
            if ids := [stream.last_ids[job_id] for stream in streams if stream.has_room()]:
                after_ids[job_id] = min(ids)
        return after_ids
