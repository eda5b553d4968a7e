"""``cascade migrate``: bring the database to this release's schema before it is served."""

from __future__ import annotations

import typer


def migrate() -> None:
    """Bring the database to this release's schema; starting the service does the same."""
    from serve.db import Database
    from serve.private_files import private_files
    from serve.settings import load_settings

    database = Database(load_settings().database_url)
    with private_files():
        done = database.create_tables()
    database.close()
    if done.before == done.after:
        typer.echo(f"{done.after}: nothing to do")
    else:
        typer.echo(f"{done.before or 'empty'} -> {done.after}")
