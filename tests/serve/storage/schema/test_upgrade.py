"""The schema's revisions, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import insert, text

from cascade_core.errors import DatabaseNewer, NotReady
from serve.storage.database import Database
from serve.storage.image_store import latent_values
from serve.storage.job_store import planned_values
from serve.storage.records import LatentRow, NewJob, utc_now
from serve.storage.schema import migrations, tables
from tests.serve.storage.test_images import latent_row

JobMaker = Callable[..., NewJob]
BEFORE_ALEMBIC = Path(__file__).parent / "before_alembic"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, new_database_url: Callable[[str], str]) -> str:
    return new_database_url(request.param)


def run_sql(database: Database, sql: str) -> None:
    with database.writing() as connection:
        for statement in filter(str.strip, sql.split(";")):
            connection.execute(text(statement))


def fill_by_hand(database: Database, job: NewJob, latent: LatentRow) -> None:
    """Write the rows of a finished job as the release before wrote them."""
    values = {
        "id": job.id,
        "kind": job.request.kind,
        "state": "queued",
        "request": job.request.to_dict(),
        "client_state": job.client_state,
        "warnings": [],
        "created_at": utc_now(),
    }
    with database.writing() as connection:
        connection.execute(insert(tables.jobs).values(**values))
        planned = [without(row, "stage_c") for row in planned_values(job)]
        connection.execute(insert(tables.images), planned)
        connection.execute(
            insert(tables.latents).values(**without(latent_values(latent), "content"))
        )


def without(row: dict[str, Any], column: str) -> dict[str, Any]:
    """Leave out a column that a later revision added."""
    return {name: value for name, value in row.items() if name != column}


def test_the_revisions_make_the_tables_that_the_code_expects(database: Database) -> None:
    with database.reading() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, tables.metadata) == []


def test_event_ids_never_come_back(database: Database, make_job: JobMaker) -> None:
    job = make_job()
    database.jobs.insert(job)
    last = database.events.last_id()
    run_sql(database, "DELETE FROM events")
    database.jobs.finish(job.id, "cancelled")
    assert database.events.last_id() > last


def test_a_database_of_the_release_before_revisions_is_taken_over_with_its_rows(
    database_url: str, make_job: JobMaker
) -> None:
    database = Database(database_url)
    kind = "sqlite" if database_url.startswith("sqlite") else "postgresql"
    run_sql(database, (BEFORE_ALEMBIC / f"{kind}.sql").read_text())
    job = make_job(client_state={"inbox": "bot", "note": "a\x00b"})
    latent = latent_row(job)
    fill_by_hand(database, job, latent)

    done = database.create_tables()

    assert done.before == "0001"
    assert database.jobs.open_ids() == [job.id]
    assert [found.id for found in database.jobs.page(inbox="bot")[0]] == [job.id]
    assert database.images.latent(latent.id) == latent
    assert database.images.save(job.images[0].id, 10)
    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_the_upgrade_tells_what_it_found_and_left(database_url: str) -> None:
    database = Database(database_url)
    first, second = database.create_tables(), database.create_tables()
    assert first.before is None
    assert second.before == second.after == first.after


def revision(database: Database) -> str:
    with database.reading() as connection:
        return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar())


def test_a_later_release_s_database_that_this_one_cannot_read_is_refused_and_left_alone(
    database: Database,
) -> None:
    run_sql(
        database,
        "UPDATE alembic_version SET version_num = '9999';"
        "UPDATE schema_compatibility SET readable_from = '9998'",
    )
    with pytest.raises(DatabaseNewer, match="9999"):
        database.create_tables()
    assert revision(database) == "9999"


def test_a_database_that_does_not_say_who_can_read_it_is_refused(database: Database) -> None:
    run_sql(
        database,
        "UPDATE alembic_version SET version_num = '9999'; DELETE FROM schema_compatibility",
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
        "UPDATE alembic_version SET version_num = '9999'",
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
        number = int(script.revision)
        assert script.revision == f"{number:04}"  # they are compared as texts
        if number >= 10:
            assert f"{int(script.module.readable_from):04}" == script.module.readable_from
            assert script.module.readable_from <= script.revision


def test_sqlite_runs_in_wal_mode(new_database_url: Callable[[str], str]) -> None:
    database = Database(new_database_url("sqlite"))
    database.create_tables()
    with database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_a_sqlite_file_whose_folder_cannot_be_made_is_not_ready(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotReady, match="file"):
        Database(f"sqlite:///{tmp_path / 'file' / 'cascade.db'}")
