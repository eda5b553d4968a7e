"""``cascade migrate``: brings the databases to this release's schemas."""

from __future__ import annotations

from serve.cli.output import say


def migrate() -> None:
    """Bring the databases to this release's schemas; starting the service does the same."""
    from serve.jobs.dbos_runtime import migrate_dbos
    from serve.local.private_files import private_files
    from serve.settings import load_settings
    from serve.storage.database import Database

    settings = load_settings()
    database = Database(settings.database_url)
    with private_files():
        done = database.create_tables()
        migrate_dbos(settings.dbos_url)
    database.close()
    if done.before == done.after:
        say(f"schema {done.after}: nothing to do")
    else:
        say(f"schema {done.before or 'empty'} -> {done.after}")
