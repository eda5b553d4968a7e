"""``cascade provenance init``."""

from __future__ import annotations

from pathlib import Path

import pytest

from serve.provenance.picture_signer import load_signer
from serve.settings import load_settings
from tests.serve.cli.cascade import Cascade


def test_it_makes_private_files_and_shows_settings_that_sign_and_never_overwrites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASCADE_DATA_DIR", str(tmp_path))
    cascade = Cascade("http://127.0.0.1:1")
    shown = cascade("provenance", "init").stdout
    for line in shown.splitlines():
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            monkeypatch.setenv(name, value)
    assert load_signer(load_settings()) is not None
    files = sorted((tmp_path / "provenance").iterdir())
    assert [file.name for file in files] == [
        "authority.key",
        "authority.pem",
        "chain.pem",
        "signer.key",
    ]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    before = [file.read_bytes() for file in files]
    again = cascade("provenance", "init")
    assert again.exit_code == 2
    assert "is there already" in again.output
    assert [file.read_bytes() for file in files] == before
