"""Ray's token and temp folder, before any Ray is started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cascade_core.errors import NotReady, SettingsInvalid
from serve.local import cluster as local
from serve.local.private_files import is_private
from serve.local.ray_access import make_token, private_temp_dir, token_path
from serve.settings import Settings


@pytest.fixture(autouse=True)
def restored_process() -> Iterator[None]:
    """Take back what a start sets for Ray's processes."""
    variables, umask = dict(os.environ), os.umask(0o022)
    yield
    os.umask(umask)
    os.environ.clear()
    os.environ.update(variables)


@pytest.mark.parametrize("mode", ["disabled", "Disabled", "k8s"])
def test_the_service_does_not_start_without_rays_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: str
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    with pytest.raises(SettingsInvalid, match="RAY_AUTH_MODE"):
        local.start(Settings(data_dir=tmp_path))


def test_a_data_folder_keeps_its_token_and_only_its_user_can_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    path = make_token(folder)
    token = path.read_text()
    assert len(token) == 64
    assert is_private(path)
    assert is_private(folder)
    assert make_token(folder).read_text() == token


@pytest.mark.parametrize("spoil", ["open", "empty", "link"])
def test_a_token_that_others_may_know_is_replaced(tmp_path: Path, spoil: str) -> None:
    path, known = token_path(tmp_path), "known"
    path.write_text("" if spoil == "empty" else known)
    path.chmod(0o644 if spoil == "open" else 0o600)
    if spoil == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    assert make_token(tmp_path).read_text() not in ("", known)
    assert is_private(path)


def test_a_data_folder_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsInvalid, match="cannot be written there"):
        make_token(tmp_path / "file" / "data")


def test_rays_temp_folder_is_private_and_short_whatever_tmpdir_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / ("x" * 70)))
    folder = private_temp_dir()
    assert folder.parent == Path("/tmp")
    assert is_private(folder)


def test_a_temp_folder_that_another_user_made_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    base = Path("/tmp") / f"t{os.getpid()}"
    base.mkdir()
    try:
        monkeypatch.setenv("TMPDIR", str(base))
        assert private_temp_dir().parent == base
        private_temp_dir().chmod(0o777)
        assert private_temp_dir().parent == Path("/tmp")
        monkeypatch.setattr("serve.local.ray_access.is_private", lambda _: False)
        with pytest.raises(SettingsInvalid, match="set TMPDIR"):
            private_temp_dir()
    finally:
        (base / f"cascade-{os.getuid()}").rmdir()
        base.rmdir()


@pytest.mark.parametrize(
    "error",
    [OSError("AF_UNIX path\nmore"), PermissionError(13, "Permission denied", "/x"), Exception()],
)
def test_what_ray_says_when_it_cannot_start_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    tries = []

    def fail(**_: object) -> None:
        tries.append(error)
        raise error

    monkeypatch.setattr("ray.init", fail)
    with pytest.raises(NotReady, match=r"Ray did not start: .*session_latest/logs") as caught:
        local.start(Settings(data_dir=tmp_path))
    assert "\n" not in caught.value.message
    assert len(tries) == local.RAY_TRIES > 1


def test_a_cluster_whose_start_fails_is_shut_down(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ended = []

    def fail(**_: object) -> None:
        raise NotReady("the controller is away")

    monkeypatch.setattr("ray.init", lambda **_: None)
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    for name in ("start", "status"):
        monkeypatch.setattr(f"ray.serve.{name}", fail)
    for name in ("ray.serve", "ray"):
        monkeypatch.setattr(f"{name}.shutdown", lambda name=name: ended.append(name))
    with pytest.raises(NotReady, match="the controller is away"):
        local.start(Settings(data_dir=tmp_path))
    assert ended == ["ray.serve", "ray"]
