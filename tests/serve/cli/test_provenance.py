"""``cascade provenance init`` and ``verify``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from serve.provenance.certificates import make_credentials
from serve.provenance.picture_signer import PictureSigner, load_signer
from serve.provenance.signing_key import FileKey
from serve.provenance.statements import ModelPassport, Origin, PictureFile
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


def test_verify_says_what_a_file_tells_and_fails_for_one_that_was_changed(
    cascade_at_gateway: Cascade, tmp_path: Path
) -> None:
    job = json.loads(
        cascade_at_gateway("generate", "x", "--json", "--out", str(tmp_path / "made")).stdout
    )
    shown = cascade_at_gateway("provenance", "verify", job["files"][0])
    assert shown.exit_code == 0
    assert "credentials: none: not signed" in shown.stdout
    assert "mark: trainedAlgorithmicMedia by demo" in shown.stdout
    assert f"names image {job['images'][0]['id']} of this service" in shown.stdout
    credentials = make_credentials()
    signer = PictureSigner(FileKey(credentials.chain_pem, credentials.key_pem))
    data = Path(job["files"][0]).read_bytes()
    origin = Origin(ModelPassport("demo", "r1", "f1", "Apache-2.0"), "generate")
    changed = bytearray(signer.sign_new(PictureFile(data, "png"), origin))
    changed[-20] ^= 1
    (tmp_path / "changed.png").write_bytes(changed)
    refused = cascade_at_gateway("provenance", "verify", str(tmp_path / "changed.png"))
    assert refused.exit_code == 1
    assert "signer: Cascade signer" in refused.stdout
    assert "no valid signature" in refused.stderr
    assert "assertion.dataHash.mismatch" in refused.stderr
    (tmp_path / "x.png").write_text("no picture")
    assert cascade_at_gateway("provenance", "verify", str(tmp_path / "x.png")).exit_code == 2
