"""Follows the events of jobs: one database poller for all waiting requests of the process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial

from cascade_core.job_states import TERMINAL_STATES
from serve.storage.database import Database
from serve.storage.records import EventRow
from serve.storage.retry import retry_until_ready

POLL_S = 0.025
"""Adds half of itself to a watching client's latency; an idle poll takes 0.2 ms."""
_BATCH = 1000
_MAX_WAITING = 100
"""How many events are kept in memory for a slow client, and read again at a time."""
_RETRY_S = 1.0

logger = logging.getLogger(__name__)


class EventHub:
    """Follows jobs for any number of streams; polls only while at least one is open.

    Args:
        database: any process appends events to it.
        poll_s: pause between two polls.
    """

    def __init__(self, database: Database, poll_s: float = POLL_S) -> None:
        self._database = database
        self._poll_s = poll_s
        self._streams: dict[str, set[_Stream]] = {}
        self._poller: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    async def follow(self, job_id: str, after_id: int = 0) -> AsyncGenerator[EventRow]:
        """Yield a job's events after an id, past ones first, and end after its last one.

        The stream waits while the database does not answer; it does not break off.
        """
        async with self._subscribed(job_id) as stream:
            while True:
                # Subscribe first, replay second: an event in between comes twice and is known by
                # its id. The other order would lose it.
                async with aclosing(self._stored(job_id, after_id)) as stored:
                    async for event in stored:
                        yield event
                        after_id = event.id
                        if event.type in TERMINAL_STATES:
                            return
                while (event_or_gap := await stream.next()) is not None:
                    if event_or_gap.id <= after_id:
                        continue
                    yield event_or_gap
                    after_id = event_or_gap.id
                    if event_or_gap.type in TERMINAL_STATES:
                        return

    async def has_events(self, job_id: str, after_id: int) -> bool:
        """Return True if a job has events after an id."""
        return bool(await self._database.run(self._database.events.of_job, job_id, after_id, 1))

    async def wait_until_ended(self, job_id: str, timeout_s: float) -> None:
        """Return once a job's last event is there, or after ``timeout_s``.

        Every job that has ended has its last event: retention and backups keep it.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), aclosing(self.follow(job_id)) as events:
                async for _ in events:
                    pass

    async def close(self) -> None:
        """Stop polling."""
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.gather(self._poller, return_exceptions=True)
            self._poller = None

    async def _stored(self, job_id: str, after_id: int) -> AsyncGenerator[EventRow]:
        while True:
            events = self._database.events
            read = partial(self._database.run, events.of_job, job_id, after_id, _MAX_WAITING)
            batch = await retry_until_ready(read)
            for event in batch:
                yield event
            if not batch:
                return
            after_id = batch[-1].id

    @asynccontextmanager
    async def _subscribed(self, job_id: str) -> AsyncIterator[_Stream]:
        stream = _Stream()
        self._streams.setdefault(job_id, set()).add(stream)
        try:
            await self._ensure_poller()
            yield stream
        finally:
            streams = self._streams[job_id]
            streams.discard(stream)
            if not streams:
                del self._streams[job_id]

    async def _ensure_poller(self) -> None:
        async with self._starting:
            if self._poller is None:
                after_id = await retry_until_ready(
                    partial(self._database.run, self._database.events.last_id)
                )
                self._poller = asyncio.create_task(self._poll(after_id))

    async def _poll(self, after_id: int) -> None:
        while self._streams:
            try:
                batch = await self._database.run(self._database.events.since, after_id, _BATCH)
            except Exception as error:
                # On any error: ending here would leave the open streams hanging.
                logger.warning("reading events failed; trying again", exc_info=error)
                await asyncio.sleep(_RETRY_S)
                continue
            for event in batch:
                after_id = event.id
                for stream in self._streams.get(event.job_id, ()):
                    stream.offer(event)
            if len(batch) < _BATCH:
                await asyncio.sleep(self._poll_s)
        self._poller = None


class _Stream:
    """Events that one client has not read yet; a client that reads too slowly gets a gap (None).

    After a gap its events are read from the database again, so a slow client costs no memory.
    """

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[EventRow | None] = asyncio.Queue()

    def offer(self, event: EventRow) -> None:
        if self._waiting.qsize() < _MAX_WAITING:
            self._waiting.put_nowait(event)
            return
        while not self._waiting.empty():
            self._waiting.get_nowait()
        self._waiting.put_nowait(None)

    async def next(self) -> EventRow | None:
        return await self._waiting.get()
