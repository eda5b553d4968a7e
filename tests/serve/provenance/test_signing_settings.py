"""What the settings of signing may be, and what is said of wrong ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cascade_core.errors import SettingsInvalid
from serve.provenance.certificates import VALID_FOR, NewCredentials, make_credentials
from serve.provenance.picture_signer import load_signer
from serve.settings import Settings, load_settings


def settings(tmp_path: Path, chain_pem: str, key_pem: str, **more: str) -> Settings:
    """Return settings with these files."""
    files = {"c2pa_cert": chain_pem, "c2pa_key": key_pem}
    for name, pem in files.items():
        (tmp_path / name).write_text(pem, encoding="ascii")
    paths = {name: str(tmp_path / name) for name in files}
    return load_settings(data_dir=tmp_path, **paths, **more)


def test_nothing_is_signed_without_settings(tmp_path: Path) -> None:
    assert load_signer(load_settings(data_dir=tmp_path)) is None


def test_a_certificate_and_its_key_sign(tmp_path: Path, credentials: NewCredentials) -> None:
    assert load_signer(settings(tmp_path, credentials.chain_pem, credentials.key_pem)) is not None


def test_a_key_of_another_certificate_is_refused_at_the_start(
    tmp_path: Path, credentials: NewCredentials
) -> None:
    other = make_credentials().key_pem
    with pytest.raises(SettingsInvalid, match="CASCADE_C2PA_CERT: nothing can be signed"):
        load_signer(settings(tmp_path, credentials.chain_pem, other))


def test_a_certificate_that_ended_is_refused_at_the_start(tmp_path: Path) -> None:
    old = make_credentials(datetime.now(UTC) - VALID_FOR - timedelta(days=1))
    with pytest.raises(SettingsInvalid, match="CASCADE_C2PA_CERT: a certificate ended on 20"):
        load_signer(settings(tmp_path, old.chain_pem, old.key_pem))


def test_a_file_without_a_certificate_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="CASCADE_C2PA_CERT: holds no sound certificate"):
        load_signer(settings(tmp_path, "nothing", "nothing"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.pem")
    with pytest.raises(SettingsInvalid, match=r"CASCADE_C2PA_CERT: .*missing\.pem: No such file"):
        load_signer(load_settings(data_dir=tmp_path, c2pa_cert=missing, c2pa_key=missing))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"c2pa_cert": "/chain.pem"}, "go together"),
        ({"c2pa_signer": "a:b", "c2pa_cert": "/c", "c2pa_key": "/k"}, "must not be set"),
        ({"c2pa_signer": "no path"}, "CASCADE_C2PA_SIGNER: must be an import path"),
        ({"c2pa_tsa_url": "time.example"}, "CASCADE_C2PA_TSA_URL: must be an address"),
        ({"c2pa_training": "maybe"}, "CASCADE_C2PA_TRAINING"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    tmp_path: Path, given: dict[str, str], said: str
) -> None:
    with pytest.raises(SettingsInvalid, match=said):
        load_settings(data_dir=tmp_path, **given)


def test_a_factory_that_makes_no_key_is_named(tmp_path: Path) -> None:
    found = load_settings(data_dir=tmp_path, c2pa_signer="builtins:object")
    with pytest.raises(SettingsInvalid, match="builtins:object makes has no chain_pem"):
        load_signer(found)
