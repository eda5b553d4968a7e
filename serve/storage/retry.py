"""A job's access to the database and the blob store: an outage of either fails no job.

What a job needs is retried until the store answers. What a job can do without is tried once, and a
failure is logged.
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
"""Called again and again during a wait: since when and until when, by ``time.monotonic``."""


async def _not_told(_since_s: float, _until_s: float) -> None:
    pass


async def retry_until_ready(
    do: Callable[[], Awaitable[ResultT]], on_wait: OnWait = _not_told
) -> ResultT:
    """Do something that is safe to repeat until it raises NotReady no more."""
    pause_s = FIRST_PAUSE_S
    told_at_s = time.monotonic()
    while True:
        try:
            return await do()
        except NotReady as error:
            logger.warning("waiting for a store: %s", error.for_operator)
        await asyncio.sleep(pause_s)
        now_s = time.monotonic()
        await on_wait(told_at_s, now_s)
        told_at_s = now_s
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


class WaitedTimes:
    """The time that jobs have waited for a store; images of a job that wait together count once."""

    def __init__(self) -> None:
        self._spans: dict[str, list[tuple[float, float]]] = {}

    def add(self, job_id: str, since_s: float, until_s: float) -> float:
        """Add a time that an image of a job has waited; returns its seconds that are new.

        Images report in any order, so a report may begin before earlier ones, or join two of them.
        """
        spans = self._spans.get(job_id, [])
        apart = [span for span in spans if span[1] < since_s or span[0] > until_s]
        joined = [span for span in spans if span not in apart] + [(since_s, until_s)]
        whole = min(begin for begin, _ in joined), max(end for _, end in joined)
        self._spans[job_id] = [*apart, whole]
        return _length_s([*apart, whole]) - _length_s(spans)

    def forget(self, job_id: str) -> None:
        """Forget a job that has ended."""
        self._spans.pop(job_id, None)


def _length_s(spans: Iterable[tuple[float, float]]) -> float:
    return sum(end - begin for begin, end in spans)


async def try_once(do: Awaitable[ResultT], what: str) -> ResultT | None:
    """Await something that a job can do without; None if a store did not answer.

    Args:
        do: what is tried.
        what: names it in the log.
    """
    try:
        return await do
    except NotReady as error:
        logger.warning("going on without %s: %s", what, error.for_operator)
        return None


class RetryingStore(Generic[StoreT]):
    """One of the database's stores, as a job uses it; each transaction is safe to repeat.

    Args:
        connections: whose threads run the transactions.
        store: whose methods are the transactions.
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
        """Run a transaction that the job can do without; None if the database did not answer."""
        run = self._connections.run(method, self._store, *args, **kwargs)
        return await try_once(run, method.__qualname__)


class RetryingDatabase:
    """The stores of the database that a job uses."""

    def __init__(self, database: Database) -> None:
        self.jobs = RetryingStore(database, database.jobs)
        self.images = RetryingStore(database, database.images)
        self.deadlines = RetryingStore(database, database.deadlines)


class RetryingBlobs:
    """Reads and writes of a job; each is safe to repeat.

    Args:
        blobs: where the bytes are.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    async def put(self, key: str, data: bytes, on_wait: OnWait) -> None:
        """Write an object that the job cannot go on without."""
        await retry_until_ready(partial(self._blobs.put, key, data), on_wait)

    async def get_known(self, key: str, what: str, on_wait: OnWait) -> bytes:
        """Read an object that the database says is there.

        Raises:
            Gone: it was lost; the message begins with ``what``.
        """
        return await retry_until_ready(partial(self._blobs.get_known, key, what), on_wait)

    async def try_put(self, key: str, data: bytes) -> bool:
        """Write an object that the job can do without; False if the store did not answer."""
        return await try_once(self._written(key, data), key) is True

    async def try_delete(self, key: str) -> None:
        """Remove an object; retention removes one that is left behind."""
        await try_once(self._blobs.delete(key), f"the removal of {key}")

    async def _written(self, key: str, data: bytes) -> bool:
        await self._blobs.put(key, data)
        return True
