"""``cascade migrate``."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text

from serve.storage.database import Database
from tests.serve.cli.cascade import Cascade


@pytest.fixture
def database_url(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'cascade.db'}"
    monkeypatch.setenv("CASCADE_DATABASE_URL", url)
    return url


def test_migrate_tells_from_where_to_where(cascade: Cascade, database_url: str) -> None:
    first, second = cascade("migrate"), cascade("migrate")
    newest = Database(database_url).create_tables().after
    assert first.stdout == f"schema empty -> {newest}\n"
    assert second.stdout == f"schema {newest}: nothing to do\n"


def test_migrate_makes_the_tables_of_the_workflow_engine_too(
    cascade: Cascade, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'dbos.db'}"
    monkeypatch.setenv("CASCADE_DBOS_URL", url)
    assert cascade("migrate").exit_code == 0
    assert "workflow_status" in inspect(create_engine(url)).get_table_names()


def test_migrate_tells_that_the_database_of_the_workflow_engine_does_not_answer(
    cascade: Cascade, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASCADE_DBOS_URL", "postgresql://cascade@127.0.0.1:1/cascade_dbos")
    result = cascade("migrate")
    assert result.exit_code == 1
    assert "workflow engine's database" in result.stderr


@pytest.mark.parametrize(
    ("place", "reason"), [("file/dbos.db", "cannot be made"), ("file", "not a database")]
)
def test_migrate_tells_that_the_file_of_the_workflow_engine_cannot_be_used(
    cascade: Cascade,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    place: str,
    reason: str,
) -> None:
    (tmp_path / "file").write_text("no database")
    monkeypatch.setenv("CASCADE_DBOS_URL", f"sqlite:///{tmp_path / place}")
    result = cascade("migrate")
    assert result.exit_code == 1
    assert reason in result.stderr


def test_migrate_refuses_a_database_of_a_later_release(cascade: Cascade, database_url: str) -> None:
    cascade("migrate")
    database = Database(database_url)
    with database.writing() as connection:
        connection.execute(text("UPDATE schema_revision SET version_num = '9999'"))
        connection.execute(text("UPDATE schema_compatibility SET readable_from = '9999'"))
    result = cascade("migrate")
    assert result.exit_code == 1
    assert "9999" in result.stderr
    assert "later" in result.stderr
