"""``cascade export`` and ``cascade import``."""

from __future__ import annotations

from pathlib import Path

import pytest

from serve.cli.backup import print_report
from serve.maintenance.backup import BackupReport
from tests.serve.cli.cascade import Cascade


@pytest.fixture(autouse=True)
def data_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CASCADE_DATA_DIR", str(tmp_path / "data"))


@pytest.mark.parametrize("name", ["all.tar", "all"])
def test_what_was_exported_can_be_imported(cascade: Cascade, tmp_path: Path, name: str) -> None:
    exported = cascade("export", str(tmp_path / name))
    assert exported.exit_code == 0, exported.output
    assert exported.stdout == "exported: 0 jobs, 0 files, 0.0 MB\n"
    imported = cascade("import", str(tmp_path / name))
    assert imported.stdout == "added: 0 jobs, 0 files, 0.0 MB\n"


def test_an_empty_path_does_not_export_into_the_current_folder(
    cascade: Cascade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused = cascade("export", "")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "name a folder" in refused.stderr
    assert not list(tmp_path.iterdir())


def test_an_empty_path_does_not_import_the_current_folder(
    cascade: Cascade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cascade("export", str(tmp_path / "all")).exit_code == 0
    monkeypatch.chdir(tmp_path / "all")
    refused = cascade("import", "")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "name a folder" in refused.stderr
    absent = cascade("import", "absent.tar")
    assert (absent.exit_code, absent.stdout) == (2, "")
    assert "absent.tar does not exist" in absent.stderr


@pytest.mark.parametrize(
    ("moved", "told"),
    [
        (BackupReport(jobs=1, files=1, size_bytes=100_000), "added: 1 job, 1 file, 0.1 MB"),
        (BackupReport(known_jobs=1), "added: 0 jobs, 0 files, 0.0 MB; 1 job was here already"),
        (BackupReport(known_jobs=2), "added: 0 jobs, 0 files, 0.0 MB; 2 jobs were here already"),
    ],
)
def test_one_is_not_many(
    moved: BackupReport, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_report(moved, "added")
    assert capsys.readouterr().out.strip() == told


def test_another_file_is_neither_overwritten_nor_imported(cascade: Cascade, tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("keep me")
    exported, imported = cascade("export", str(other)), cascade("import", str(other))
    assert (exported.exit_code, imported.exit_code) == (2, 2)
    assert other.read_text() == "keep me"
    assert "tar" in exported.stderr
    assert "tar" in imported.stderr


def test_a_place_that_cannot_be_written_is_named(cascade: Cascade, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = cascade("export", str(tmp_path / "file" / "all.tar"))
    assert result.exit_code == 1
    assert str(tmp_path / "file") in result.stderr
