"""Opens the database that the settings name, for commands that work on it without the service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serve.storage.database import Database


@contextmanager
def own_database() -> Iterator[Database]:
    """Open the database with this release's tables; closed at the end of the block.

    Raises:
        NotReady: it does not answer.
        DatabaseNewer, DatabaseOlder: another release has made it, which this one cannot use.
    """
    from serve.local.private_files import private_files
    from serve.settings import load_settings
    from serve.storage.database import Database

    database = Database(load_settings().database_url)
    try:
        with private_files():
            database.create_tables()
            yield database
    finally:
        database.close()
