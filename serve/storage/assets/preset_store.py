"""The presets of exports that people have added to those of the service."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import delete, func, select

from cascade_core.errors import Conflict
from serve.storage.connections import Connections
from serve.storage.records import utc_now
from serve.storage.schema.asset_tables import export_presets
from serve.storage.schema.tables import upsert

MAX_PRESETS: Final = 200


class PresetStore:
    """Keeps presets by name; every method is one transaction and blocks.

    Raises:
        NotReady: the database does not answer (from every method).
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def all(self) -> dict[str, dict[str, Any]]:
        """Return the bodies of all presets by their names."""
        query = select(export_presets.c.name, export_presets.c.body)
        with self._connections.reading() as connection:
            return {name: body for name, body in connection.execute(query)}

    def put(self, name: str, body: dict[str, Any]) -> None:
        """Keep a preset; it replaces an earlier one of its name.

        Raises:
            Conflict: there are as many as there may be.
        """
        others = select(func.count()).where(export_presets.c.name != name)
        with self._connections.writing() as connection:
            if connection.execute(others).scalar_one() >= MAX_PRESETS:
                raise Conflict(f"there are {MAX_PRESETS} presets already; delete some")
            row = {"name": name, "body": body, "changed_at": utc_now()}
            upsert(connection, export_presets, row)

    def delete(self, name: str) -> None:
        """Remove a preset; a missing one is no error."""
        with self._connections.writing() as connection:
            connection.execute(delete(export_presets).where(export_presets.c.name == name))
