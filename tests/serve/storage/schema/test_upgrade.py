"""The schema's revisions, on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from cascade_core.errors import DatabaseNewer, DatabaseOlder, NotReady
from serve.storage.database import Database
from serve.storage.records import NewJob
from serve.storage.schema import migrations, tables

JobMaker = Callable[..., NewJob]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, empty_database_url: Callable[[str], str]) -> str:
    return empty_database_url(request.param)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Migrated, not copied."""
    database = Database(database_url)
    database.create_tables()
    yield database
    database.close()


def run_sql(database: Database, sql: str) -> None:
    with database.writing() as connection:
        for statement in filter(str.strip, sql.split(";")):
            connection.execute(text(statement))


def differences(database: Database) -> list[object]:
    """Return what tells the tables that are there from those that the code expects."""
    options = {
        "compare_type": True,
        "compare_server_default": True,
        "version_table": tables.VERSION_TABLE,
    }
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, tables.metadata))


def test_the_revisions_make_the_tables_that_the_code_expects(database: Database) -> None:
    assert differences(database) == []


def test_a_database_of_the_first_revision_keeps_its_jobs(
    database: Database, make_job: JobMaker
) -> None:
    job = make_job()
    database.jobs.insert(job)
    newest = revision(database)
    run_sql(
        database,
        "DROP TABLE library; DROP TABLE library_words; DROP TABLE sessions;"
        "DROP TABLE boards; DROP TABLE board_pictures;"
        "DROP TABLE comparisons; DROP TABLE comparison_votes;"
        "DROP TABLE assets; DROP TABLE asset_comments; DROP TABLE audit_events;"
        "DROP TABLE audit_notes; DROP TABLE export_presets;"
        "DROP INDEX jobs_by_model; DROP INDEX jobs_by_state; ALTER TABLE jobs DROP COLUMN model;"
        'CREATE INDEX jobs_by_state ON jobs (state, owner, "user", id, work);'
        "DROP TABLE uploads; DROP INDEX images_by_upload;"
        "ALTER TABLE images DROP COLUMN upload_id;"
        "DROP INDEX jobs_by_state; CREATE INDEX jobs_by_state ON jobs (state, kind, id);"
        "ALTER TABLE jobs DROP COLUMN choice; ALTER TABLE images DROP COLUMN preview;"
        "DROP INDEX images_by_source; ALTER TABLE images DROP COLUMN source_latent_id;"
        "ALTER TABLE jobs DROP COLUMN redos; ALTER TABLE images DROP COLUMN redo_count;"
        "ALTER TABLE jobs DROP COLUMN rejections;"
        "UPDATE schema_revision SET version_num = '0001'",
    )
    assert differences(database) != []
    done = database.create_tables()
    assert (done.before, done.after) == ("0001", newest)
    assert differences(database) == []
    assert database.jobs.open_ids() == [job.id]


def test_variations_of_a_database_of_the_fourth_revision_name_their_latent(
    database: Database, make_job: JobMaker
) -> None:
    original = make_job()
    variation = make_job(kind="vary_details", latent_id=original.images[0].latent_id)
    for job in (original, variation):
        database.jobs.insert(job)
    run_sql(
        database,
        "DROP INDEX images_by_source; ALTER TABLE images DROP COLUMN source_latent_id;"
        "ALTER TABLE jobs DROP COLUMN redos; ALTER TABLE images DROP COLUMN redo_count;"
        "ALTER TABLE jobs DROP COLUMN rejections;"
        "DROP TABLE library; DROP TABLE library_words; DROP TABLE sessions;"
        "DROP TABLE boards; DROP TABLE board_pictures;"
        "DROP TABLE comparisons; DROP TABLE comparison_votes;"
        "DROP TABLE assets; DROP TABLE asset_comments; DROP TABLE audit_events;"
        "DROP TABLE audit_notes; DROP TABLE export_presets;"
        "DROP INDEX jobs_by_model; DROP INDEX jobs_by_state; ALTER TABLE jobs DROP COLUMN model;"
        'CREATE INDEX jobs_by_state ON jobs (state, owner, "user", id, work);'
        "UPDATE schema_revision SET version_num = '0004'",
    )
    assert database.create_tables().before == "0004"
    assert differences(database) == []
    sources = [
        database.jobs.get(job.id).images[0].source_latent_id for job in (original, variation)
    ]  # type: ignore[union-attr]
    assert sources == [None, original.images[0].latent_id]


def test_event_ids_never_come_back(database: Database, make_job: JobMaker) -> None:
    job = make_job()
    database.jobs.insert(job)
    (queued,) = database.events.of_job(job.id)
    run_sql(database, "DELETE FROM events")
    database.jobs.finish(job.id, "cancelled")
    (cancelled,) = database.events.of_job(job.id)
    assert cancelled.id > queued.id


@pytest.mark.parametrize("version_table", [None, "alembic_version"])
def test_a_database_from_before_the_first_release_is_refused_and_left_alone(
    database_url: str, version_table: str | None
) -> None:
    database = Database(database_url)
    run_sql(database, "CREATE TABLE jobs (id VARCHAR(64) PRIMARY KEY)")
    if version_table is not None:
        run_sql(
            database,
            f"CREATE TABLE {version_table} (version_num VARCHAR(32));"
            f"INSERT INTO {version_table} VALUES ('0010')",
        )
    with pytest.raises(DatabaseOlder, match=r"cascade export.*cascade import"):
        database.create_tables()
    with database.reading() as connection:
        tables_there = set(inspect(connection).get_table_names())
    assert tables_there == {"jobs", version_table} - {None}


def test_the_upgrade_tells_what_it_found_and_left(database_url: str) -> None:
    database = Database(database_url)
    first, second = database.create_tables(), database.create_tables()
    assert first.before is None
    assert second.before == second.after == first.after


def revision(database: Database) -> str:
    with database.reading() as connection:
        return str(connection.execute(text("SELECT version_num FROM schema_revision")).scalar())


def test_a_later_release_s_database_that_this_one_cannot_read_is_refused_and_left_alone(
    database: Database,
) -> None:
    run_sql(
        database,
        "UPDATE schema_revision SET version_num = '9999';"
        "UPDATE schema_compatibility SET readable_from = '9998'",
    )
    with pytest.raises(DatabaseNewer, match="9999"):
        database.create_tables()
    assert revision(database) == "9999"


@pytest.mark.parametrize("change", ["DELETE FROM", "DROP TABLE"])
def test_a_database_that_does_not_say_which_releases_read_it_is_refused(
    database: Database, change: str
) -> None:
    run_sql(
        database,
        f"UPDATE schema_revision SET version_num = '9999'; {change} schema_compatibility",
    )
    with pytest.raises(DatabaseNewer, match="9999"):
        database.create_tables()


def test_a_release_runs_on_a_later_one_s_database_that_only_adds_to_it(
    database: Database, make_job: JobMaker
) -> None:
    """So that the release that serves can restart its processes while the next one starts."""
    first = make_job()
    database.jobs.insert(first)
    run_sql(
        database,
        "ALTER TABLE jobs ADD COLUMN future VARCHAR(8);"
        "CREATE TABLE futures (id INTEGER PRIMARY KEY);"
        "UPDATE schema_revision SET version_num = '9999'",
    )
    done = database.create_tables()
    assert (done.before, done.after) == ("9999", "9999")
    second = make_job()
    database.jobs.insert(second)
    assert database.jobs.finish(first.id, "succeeded")
    assert database.jobs.open_ids() == [second.id]
    assert revision(database) == "9999"


def test_every_revision_says_which_code_can_read_its_tables() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    for script in scripts.walk_revisions():
        assert script.revision == f"{int(script.revision):04}"  # they are compared as texts
        assert f"{int(script.module.readable_from):04}" == script.module.readable_from
        assert script.module.readable_from <= script.revision


def test_sqlite_runs_in_wal_mode(empty_database_url: Callable[[str], str]) -> None:
    database = Database(empty_database_url("sqlite"))
    database.create_tables()
    with database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_a_sqlite_file_whose_folder_cannot_be_made_is_not_ready(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotReady, match="file"):
        Database(f"sqlite:///{tmp_path / 'file' / 'cascade.db'}")
