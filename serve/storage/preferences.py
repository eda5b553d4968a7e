"""Stores small JSON values by name for clients and their end users."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, func, select

from cascade_core.errors import Conflict
from serve.storage.connections import Connections
from serve.storage.records import JobOwner
from serve.storage.schema.tables import preferences, upsert

MAX_PER_OWNER = 10_000


class PreferenceStore:
    """The preferences in the database; every method is one transaction and blocks.

    Each API key has its own preferences. A trusted key has separate ones for each of its end users.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def get(self, owner: JobOwner, name: str) -> dict[str, Any] | None:
        """Return the value under a name; None if there is none."""
        query = select(preferences.c.value).where(*_owned(owner), preferences.c.name == name)
        with self._connections.reading() as connection:
            return connection.execute(query).scalar()

    def put(self, owner: JobOwner, name: str, value: dict[str, Any]) -> None:
        """Store a value under a name; it replaces an earlier value.

        Raises:
            Conflict: the owner already has the maximum number of preferences.
        """
        others = (*_owned(owner), preferences.c.name != name)
        count = select(func.count()).select_from(preferences).where(*others)
        key = {"owner": owner.key_id or "", "user": owner.user or "", "name": name}
        with self._connections.writing() as connection:
            if connection.execute(count).scalar_one() >= MAX_PER_OWNER:
                raise Conflict(f"there are {MAX_PER_OWNER} preferences already; delete some")
            upsert(connection, preferences, key | {"value": value})

    def delete(self, owner: JobOwner, name: str) -> None:
        """Remove a value; a missing value is no error."""
        with self._connections.writing() as connection:
            connection.execute(
                delete(preferences).where(*_owned(owner), preferences.c.name == name)
            )


def _owned(owner: JobOwner) -> tuple[Any, Any]:
    # Empty text stands for no user: a primary key cannot hold NULL.
    table = preferences.c
    return table.owner == (owner.key_id or ""), table.user == (owner.user or "")
