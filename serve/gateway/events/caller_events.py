"""The events of all jobs of a caller as one stream, which never ends by itself.

It begins with the jobs as they stand, so that a client needs no earlier events: not when it begins,
and not when it resumes.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from sse_starlette import ServerSentEvent

from serve.gateway.dependencies import Services
from serve.gateway.events.sse import EventStream, event_body
from serve.gateway.events.streams import CallerStream
from serve.storage.database import Database
from serve.storage.lineage import Viewpoint
from serve.storage.records import Job
from serve.storage.retry import retry_until_ready

_JOBS_PER_READ: Final = 20
"""So many jobs are in memory while a slow client reads them."""
_OVERLAP: Final = timedelta(minutes=1)
"""Events may become visible so much later than others that happened after them."""
_LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where a stream begins.

    Attributes:
        event_id: the last event of all jobs; what happens after it is in the stream.
        ended_since: jobs that have ended since then are shown, too; None: none.
    """

    event_id: int
    ended_since: datetime | None


async def find_beginning(database: Database, last_event_id: int | None) -> Beginning:
    """Return where a stream begins that resumes after an event; None: that resumes none.

    Raises:
        NotReady: the database does not answer.
    """
    event_id = await database.run(database.events.last_id)
    if last_event_id is None:
        return Beginning(event_id, None)
    at = await database.run(database.events.time_of, last_event_id)
    return Beginning(event_id, _LONG_AGO if at is None else at - _OVERLAP)


def caller_event_stream(
    services: Services, viewpoint: Viewpoint, beginning: Beginning
) -> EventStream:
    """Return the events of all jobs that a caller's lists show, as Server-Sent Events."""
    return EventStream(_messages(services, viewpoint, beginning), services.keep_alive_s)


async def _messages(
    services: Services, viewpoint: Viewpoint, beginning: Beginning
) -> AsyncGenerator[ServerSentEvent]:
    hub = services.event_hub
    stream = CallerStream(viewpoint, services.jobs.watch)
    async with hub.joined(stream):
        async for job in _jobs_as_they_stand(services, stream, beginning.ended_since):
            yield _message("job", {"job_id": job.id, "job": job.to_json()})
        yield _message("live", {}, beginning.event_id)
        while True:
            event = await hub.next_event(stream)
            yield _message(event.type, {"job_id": event.job_id, **event_body(event)}, event.id)


async def _jobs_as_they_stand(
    services: Services, stream: CallerStream, ended_since: datetime | None
) -> AsyncIterator[Job]:
    """Yield the jobs that have not ended, and those that ended since a time.

    From what is yielded on, the stream follows each job that has not ended.
    """
    database = services.database
    read_ids = partial(database.run, database.jobs.live_ids, stream.viewpoint, ended_since)
    ids = await retry_until_ready(read_ids)
    stream.unshown.update(ids)
    for first in range(0, len(ids), _JOBS_PER_READ):
        # One that began just now may be followed already, from its first event on.
        some = [one for one in ids[first : first + _JOBS_PER_READ] if one not in stream.last_ids]
        read = partial(database.run, database.jobs.with_last_event_ids, some)
        found = await retry_until_ready(read)
        for job, last_id in found:
            if not job.is_terminal:
                services.event_hub.add(stream, job.id, last_id)
        stream.unshown.difference_update(some)
        for job, _ in found:
            yield job


def _message(event: str, data: dict[str, Any], event_id: int | None = None) -> ServerSentEvent:
    """Return an event to send; without an id, it does not change where the client resumes."""
    text = json.dumps(data, separators=(",", ":"))
    name = None if event_id is None else str(event_id)
    return ServerSentEvent(data=text, event=event, id=name, sep="\n")
