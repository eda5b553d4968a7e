"""Run by Alembic to migrate; `serve.storage.schema.upgrade` gives the open connection."""

from __future__ import annotations

from alembic import context

from serve.storage.schema.tables import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    # SQLite can alter little in place; Alembic's batch operations copy the table instead.
    render_as_batch=True,
)
context.run_migrations()
