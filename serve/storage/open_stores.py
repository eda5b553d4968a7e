"""Waits for the stores of a process at its start, because they may start later than it does."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final, TypeVar

from cascade_core.errors import NotReady
from serve.settings import Settings
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database

START_LIMIT_S: Final = 300.0
"""Then the start fails, and Serve tries again."""
_PAUSE_S: Final = 2.0

logger = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")


def until_available(
    do: Callable[[], ResultT],
    limit_s: float = START_LIMIT_S,
    pause: Callable[[float], None] = time.sleep,
) -> ResultT:
    """Repeat an operation until it no longer raises NotReady; it must be safe to repeat; blocks.

    Args:
        do: the operation, which needs a store.
        limit_s: for how long it is repeated.
        pause: sleeps for seconds; for tests.

    Raises:
        NotReady: the store still does not answer; the message is that of its last error.
    """
    end_s = time.monotonic() + limit_s
    while True:
        try:
            return do()
        except NotReady as error:
            if time.monotonic() >= end_s:
                raise NotReady(error.for_operator) from error
            logger.warning("waiting to start: %s", error.for_operator)
        pause(_PAUSE_S)


def open_stores(settings: Settings, reserved: int = 0) -> tuple[Database, BlobStore]:
    """Return the database, migrated, and the blob store, as soon as both answer; blocks.

    Args:
        settings: where they are.
        reserved: as of :class:`serve.storage.connections.Connections`.

    Raises:
        NotReady: they do not answer for minutes.
        DatabaseNewer: a later release has migrated the database.
    """

    def open_database() -> Database:
        found = Database(settings.database_url, settings.database_connections, reserved)
        try:
            found.create_tables()
        except NotReady:
            found.close()
            raise
        return found

    return until_available(open_database), until_available(lambda: BlobStore(settings.blob_url))
