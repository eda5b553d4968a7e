"""Gives jobs access to the database and the blob store, so that an outage of either fails no job.

An operation that the job needs is retried until the store answers. An optional operation is tried
once, and its failure is logged.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Concatenate, Generic, ParamSpec, TypeVar

from cascade_core.errors import NotReady
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.connections import Connections
from serve.storage.database import Database

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0

logger = logging.getLogger(__name__)

Arguments = ParamSpec("Arguments")
ResultT = TypeVar("ResultT")
StoreT = TypeVar("StoreT")
OnWait = Callable[[float, float], Awaitable[object]]
"""Called repeatedly during a wait with the start and the end of a part of it, in seconds of
``time.monotonic``."""


async def _ignore(_since_s: float, _until_s: float) -> None:
    pass


async def retry_until_ready(
    do: Callable[[], Awaitable[ResultT]], on_wait: OnWait = _ignore
) -> ResultT:
    """Repeat an operation until it no longer raises NotReady; it must be safe to repeat."""
    pause_s = FIRST_PAUSE_S
    reported_at_s = time.monotonic()
    while True:
        try:
            return await do()
        except NotReady as error:
            logger.warning("waiting for a store: %s", error.for_operator)
        await asyncio.sleep(pause_s)
        now_s = time.monotonic()
        await on_wait(reported_at_s, now_s)
        reported_at_s = now_s
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


class WaitedTimes:
    """The time that jobs have waited for a store; overlapping waits of one job count once."""

    def __init__(self) -> None:
        self._spans: dict[str, list[tuple[float, float]]] = {}

    def add(self, job_id: str, since_s: float, until_s: float) -> float:
        """Add a time span in which an image of a job waited; returns how many seconds are new.

        Images report in any order, so a span may begin before earlier ones or overlap several.
        """
        spans = self._spans.get(job_id, [])
        apart = [span for span in spans if span[1] < since_s or span[0] > until_s]
        joined = [span for span in spans if span not in apart] + [(since_s, until_s)]
        whole = min(begin for begin, _ in joined), max(end for _, end in joined)
        self._spans[job_id] = [*apart, whole]
        return _length_s([*apart, whole]) - _length_s(spans)

    def forget(self, job_id: str) -> None:
        """Remove the times of a job that has ended."""
        self._spans.pop(job_id, None)


def _length_s(spans: Iterable[tuple[float, float]]) -> float:
    return sum(end - begin for begin, end in spans)


async def try_once(do: Awaitable[ResultT], what: str) -> ResultT | None:
    """Await an optional operation of a job; None if a store did not answer.

    Args:
        do: the operation.
        what: name of the operation in the log.
    """
    try:
        return await do
    except NotReady as error:
        logger.warning("the job goes on without %s: %s", what, error.for_operator)
        return None


class RetryingStore(Generic[StoreT]):
    """Runs the transactions of one of the database's stores for jobs; each is safe to repeat.

    Args:
        connections: they run the transactions in their threads.
        store: its methods are the transactions.
    """

    def __init__(self, connections: Connections, store: StoreT) -> None:
        self._connections = connections
        self._store = store

    async def do(
        self,
        method: Callable[Concatenate[StoreT, Arguments], ResultT],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> ResultT:
        """Run a transaction that the job needs."""
        run = partial(self._connections.run, method, self._store, *args, **kwargs)
        return await retry_until_ready(run)

    async def try_once(
        self,
        method: Callable[Concatenate[StoreT, Arguments], ResultT],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> ResultT | None:
        """Run an optional transaction; None if the database did not answer."""
        run = self._connections.run(method, self._store, *args, **kwargs)
        return await try_once(run, method.__qualname__)


class RetryingDatabase:
    """The database's stores that jobs use, as :class:`RetryingStore`."""

    def __init__(self, database: Database) -> None:
        self.jobs = RetryingStore(database, database.jobs)
        self.waiting = RetryingStore(database, database.waiting)
        self.images = RetryingStore(database, database.images)
        self.deadlines = RetryingStore(database, database.deadlines)


class RetryingBlobs:
    """Reads and writes objects for jobs; each operation is safe to repeat.

    Args:
        blobs: the store of the objects.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    async def put(self, key: str, data: bytes, on_wait: OnWait) -> None:
        """Write an object that the job needs."""
        await retry_until_ready(partial(self._blobs.put, key, data), on_wait)

    async def get_known(self, key: str, what: str, on_wait: OnWait) -> bytes:
        """Read an object that the database records as stored.

        Raises:
            Gone: the object was lost; the message begins with ``what``.
        """
        return await retry_until_ready(partial(self._blobs.get_known, key, what), on_wait)

    async def get_known_once(self, key: str, what: str) -> bytes:
        """Read an object that the database records as stored, without trying again.

        Raises:
            Gone: the object was lost; the message begins with ``what``.
            NotReady: the store does not answer.
        """
        return await self._blobs.get_known(key, what)

    async def try_put(self, key: str, data: bytes) -> bool:
        """Write an optional object; False if the store did not answer."""
        return await try_once(self._written(key, data), key) is True

    async def try_delete(self, key: str) -> None:
        """Remove an object; if the store does not answer, retention removes it later."""
        await try_once(self._blobs.delete(key), f"the removal of {key}")

    async def _written(self, key: str, data: bytes) -> bool:
        await self._blobs.put(key, data)
        return True
