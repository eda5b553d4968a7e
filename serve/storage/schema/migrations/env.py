"""What Alembic runs to migrate; `serve.storage.schema.upgrade` gives the open connection."""

from __future__ import annotations

from alembic import context

from serve.storage.schema.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite can alter little in place; Alembic's batch operations copy the table instead.
    render_as_batch=True,
)
context.run_migrations()
