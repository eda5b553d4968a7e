"""A job's view of the database and the blob store: one that is away for a while costs no job.

What a job cannot go on without is tried until the store answers. What it can do without is tried
once, and a failure is logged.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

from cascade_core.errors import NotReady
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0

logger = logging.getLogger(__name__)

Arguments = ParamSpec("Arguments")
ResultT = TypeVar("ResultT")
OnWait = Callable[[float, float], Awaitable[object]]
"""Called again and again during a wait: since when and until when, by ``time.monotonic``."""


async def _not_told(_since_s: float, _until_s: float) -> None:
    pass


async def until_ready(do: Callable[[], Awaitable[ResultT]], on_wait: OnWait = _not_told) -> ResultT:
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


async def tried_once(do: Awaitable[ResultT], what: str) -> ResultT | None:
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


class PatientDatabase:
    """Transactions of a job; each is safe to repeat.

    Args:
        database: whose methods, and functions that take it first, are run in threads.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def do(
        self,
        transaction: Callable[Concatenate[Database, Arguments], ResultT],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> ResultT:
        """Run a transaction that the job cannot go on without."""
        run = partial(self._database.run, transaction, self._database, *args, **kwargs)
        return await until_ready(run)

    async def try_once(
        self,
        transaction: Callable[Concatenate[Database, Arguments], ResultT],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> ResultT | None:
        """Run a transaction that the job can do without; None if the database did not answer."""
        run = self._database.run(transaction, self._database, *args, **kwargs)
        return await tried_once(run, transaction.__name__)


class PatientBlobs:
    """Reads and writes of a job; each is safe to repeat.

    Args:
        blobs: where the bytes are.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    async def put(self, key: str, data: bytes, on_wait: OnWait) -> None:
        """Write an object that the job cannot go on without."""
        await until_ready(partial(self._blobs.put, key, data), on_wait)

    async def get_known(self, key: str, what: str, on_wait: OnWait) -> bytes:
        """Read an object that the database says is there.

        Raises:
            Gone: it was lost; the message begins with ``what``.
        """
        return await until_ready(partial(self._blobs.get_known, key, what), on_wait)

    async def try_put(self, key: str, data: bytes) -> bool:
        """Write an object that the job can do without; False if the store did not answer."""
        return await tried_once(self._written(key, data), key) is True

    async def try_delete(self, key: str) -> None:
        """Remove an object; one that is left behind is removed by the next round of upkeep."""
        await tried_once(self._blobs.delete(key), f"the removal of {key}")

    async def _written(self, key: str, data: bytes) -> bool:
        await self._blobs.put(key, data)
        return True
