from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import make_url

from cascade_core.errors import SettingsInvalid
from cascade_core.families.registry import STAGE_NAMES
from serve.settings import (
    OTHER_VARIABLES,
    Settings,
    all_variables,
    explain,
    load_settings,
    unknown_variables,
)
from serve.storage.blobs.blob_store import BlobStore
from serve.storage.database import Database
from serve.store_urls import hide_password


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("CASCADE_"):
            monkeypatch.delenv(name)


def test_without_variables_everything_lives_in_one_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CASCADE_DATA_DIR", str(tmp_path))
    settings = load_settings()
    assert settings.model == "demo"
    assert settings.database_url == f"sqlite:///{tmp_path}/cascade.db"
    assert settings.dbos_url == f"sqlite:///{tmp_path}/dbos.db"
    assert settings.blob_url == f"file://{tmp_path}/blobs"
    assert (settings.http_host, settings.http_port) == ("127.0.0.1", 8000)


def test_the_data_folder_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings().data_dir == tmp_path / ".local/share/cascade"
    monkeypatch.setenv("CASCADE_DATA_DIR", "~/pictures")
    assert load_settings().data_dir == tmp_path / "pictures"


def test_a_blocklist_is_found_from_every_processs_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CASCADE_BLOCKLIST", "lists/words.txt")
    assert load_settings().blocklist == str(tmp_path / "lists/words.txt")


@pytest.mark.parametrize("path", ["package", "package:", ":make", "a-b:make", "a..b:make", "a:b.c"])
def test_a_checker_is_named_by_an_import_path(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setenv("CASCADE_CHECKER", "package.module:make")
    assert load_settings().checker == "package.module:make"
    monkeypatch.setenv("CASCADE_CHECKER", path)
    with pytest.raises(SettingsInvalid, match=r"CASCADE_CHECKER: .*package\.module:factory"):
        load_settings()


def test_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCADE_HTTP_PORT", "9000")
    monkeypatch.setenv("CASCADE_LOG_LEVEL", "debug")
    monkeypatch.setenv("CASCADE_DATABASE_URL", "postgresql://me:pw@db/cascade")
    settings = load_settings()
    assert settings.http_port == 9000
    assert settings.log_level == "DEBUG"
    assert settings.database_url == "postgresql://me:pw@db/cascade"


def test_an_empty_variable_counts_as_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCADE_HTTP_PORT", "")
    assert load_settings().http_port == 8000


def test_all_problems_are_reported_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCADE_HTTP_PORT", "70000")
    monkeypatch.setenv("CASCADE_DEVICE", "tpu")
    monkeypatch.setenv("CASCADE_BLOB_URL", "memory:///")
    monkeypatch.setenv("CASCADE_DATABASE_URL", "mysql://root:secret@db/x")
    with pytest.raises(SettingsInvalid) as caught:
        load_settings()
    message = str(caught.value)
    assert len(message.splitlines()) == 4
    assert "CASCADE_HTTP_PORT must be at most 65535" in message
    assert "CASCADE_DEVICE must be 'auto', 'cpu' or 'cuda'" in message
    assert "CASCADE_BLOB_URL: must be a URL that starts with one of file, s3" in message
    assert "CASCADE_DATABASE_URL: must be a URL that starts with one of sqlite" in message
    assert "secret" not in message


def test_settings_are_frozen_and_cross_process_borders_unchanged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CASCADE_PREVIEWS", "5")
    settings = load_settings()
    with pytest.raises(ValidationError):
        settings.previews = 1  # type: ignore[misc]
    monkeypatch.setenv("CASCADE_PREVIEWS", "7")
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_explain_names_every_source_and_hides_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCADE_DATABASE_URL", "postgresql://me:hunter2@db/cascade")
    shown = {name: (value, source) for name, value, source in explain(load_settings())}
    assert shown["CASCADE_DATABASE_URL"] == ("postgresql://me:***@db/cascade", "environment")
    assert shown["CASCADE_HTTP_PORT"] == ("8000", "default")
    assert shown["CASCADE_REUSE_LATENTS"] == ("true", "default")
    assert shown.keys() == all_variables().keys()


def test_each_stage_of_all_families_has_its_own_price_of_an_hour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [f"CASCADE_HOUR_PRICE_{stage.upper()}" for stage in STAGE_NAMES]
    assert names == [name for name in all_variables() if "HOUR_PRICE" in name]
    monkeypatch.setenv(names[0], "2.5")
    monkeypatch.setenv(names[1], "")
    settings = load_settings()
    assert settings.hour_price == {STAGE_NAMES[0]: 2.5}
    shown = {name: (value, source) for name, value, source in explain(settings)}
    assert shown[names[0]] == ("2.5", "environment")
    assert {shown[name] for name in names[1:]} == {("0.0", "default")}


def test_a_wrong_price_is_told_by_its_variable_and_a_stage_that_is_none_is_no_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (hint,) = unknown_variables(["CASCADE_HOUR_PRICE_X"])
    assert hint.startswith("CASCADE_HOUR_PRICE_X is no setting and has no effect; did you mean")
    for variable, text in (("CASCADE_HOUR_PRICE", "3"), ("CASCADE_HOUR_PRICE_X", "abc")):
        monkeypatch.setenv(variable, text)
        assert load_settings().hour_price == {}
        monkeypatch.delenv(variable)
    monkeypatch.setenv("CASCADE_HOUR_PRICE_C", "-1")
    with pytest.raises(SettingsInvalid, match=r"CASCADE_HOUR_PRICE_C must be at least 0"):
        load_settings()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket/path", "s3://bucket/path"),
        ("postgresql://u:p@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("demo", "demo"),
    ],
)
def test_only_the_password_of_a_url_is_hidden(url: str, shown: str) -> None:
    assert hide_password(url) == shown


def test_the_model_source_follows_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCADE_MODEL", "stabilityai/stable-cascade")
    monkeypatch.setenv("CASCADE_MODEL_REVISION", "a" * 40)
    monkeypatch.setenv("CASCADE_MODEL_VARIANT", "bf16")
    monkeypatch.setenv("CASCADE_STAGE_C_SIZE", "lite")
    monkeypatch.setenv("CASCADE_PREVIEWER_PATH", "/models/previewer.safetensors")
    source = load_settings().model_source()
    assert (source.model, source.revision) == ("stabilityai/stable-cascade", "a" * 40)
    assert (source.variant, source.prior_size, source.decoder_size) == ("bf16", "lite", "full")
    assert source.previewer == "/models/previewer.safetensors"


def test_a_mistyped_variable_is_named_with_what_was_probably_meant(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CASCADE_MAX_OPENJOBS", "7")
    monkeypatch.setenv("CASCADE_XYZ", "secret")
    for name in OTHER_VARIABLES:
        monkeypatch.setenv(name, "x")
    assert load_settings().max_open_jobs == 500
    assert caplog.messages == [
        "CASCADE_MAX_OPENJOBS is no setting and has no effect; did you mean CASCADE_MAX_OPEN_JOBS?",
        "CASCADE_XYZ is no setting and has no effect",
    ]


def test_what_kubernetes_adds_for_a_service_is_no_mistake() -> None:
    names = (
        "CASCADE_SERVICE_HOST",
        "CASCADE_SERVICE_PORT",
        "CASCADE_SERVICE_PORT_HTTP",
        "CASCADE_PORT",
        "CASCADE_PORT_8000_TCP",
        "CASCADE_PORT_8000_TCP_ADDR",
        "CASCADE_SERVE_SVC_SERVICE_HOST",
        "CASCADE_SERVE_SVC_PORT_8000_TCP_PROTO",
        "PATH",
    )
    assert unknown_variables(names) == []


@pytest.mark.parametrize(
    "value", ["*", "app.example", "https://", "https://app.example/", "https://*.example", "null"]
)
def test_origins_are_whole_sites(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CASCADE_CORS_ORIGINS", f"http://localhost:3000, {value}")
    with pytest.raises(SettingsInvalid, match="CASCADE_CORS_ORIGINS"):
        load_settings()
    monkeypatch.setenv("CASCADE_CORS_ORIGINS", "http://localhost:3000, https://app.example,")
    assert load_settings().allowed_origins == {"http://localhost:3000", "https://app.example"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CASCADE_DATABASE_URL", "sqlite://"),
        ("CASCADE_DATABASE_URL", "sqlite:///:memory:"),
        ("CASCADE_DATABASE_URL", "postgresql://u:geheim@[::1"),
        ("CASCADE_DATABASE_URL", "postgresql://u:geheim@h:port/x"),
        ("CASCADE_DBOS_URL", "sqlite:///"),
        ("CASCADE_BLOB_URL", "file://relative/x"),
        ("CASCADE_BLOB_URL", "file:///"),
        ("CASCADE_HTTP_HOST", "a b"),
        ("CASCADE_HTTP_HOST", "http://x"),
        ("CASCADE_HTTP_HOST", "[]"),
        ("CASCADE_HTTP_HOST", "x\x1b[31m"),
        ("CASCADE_DATA_DIR", "/caf\udce9"),
        ("CASCADE_DATA_DIR", "~no-such-user/x"),
    ],
)
def test_a_place_that_cannot_be_is_refused_with_its_name_and_without_its_secrets(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsInvalid, match=f"^{name}: ") as caught:
        load_settings()
    assert "\n" not in caught.value.message
    assert "geheim" not in caught.value.message


@pytest.mark.parametrize("folder", ["da?ta", "da#ta", "da%41ta", "da ta", "dätä", "da&a=b", "[da]"])
def test_a_data_folder_may_have_any_name(folder: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / folder)
    for url in (settings.database_url, settings.dbos_url):
        assert Path(make_url(url).database or "").parent == tmp_path / folder
    Database(settings.database_url).create_tables()
    BlobStore(settings.blob_url)
    assert {path.name for path in (tmp_path / folder).iterdir()} >= {"cascade.db", "blobs"}
    assert [path.name for path in tmp_path.iterdir()] == [folder]


def test_sizes_to_warm_up_are_those_that_a_request_may_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load_settings().warm_up_sizes_px == ()
    monkeypatch.setenv("CASCADE_WARM_UP_SIZES", "1024x1024, 1536x1024")
    assert load_settings().warm_up_sizes_px == ((1024, 1024), (1536, 1024))
    for size in ("1024", "1024x", "axb", "1x2x3", "1000x1024", "1024x4096"):
        monkeypatch.setenv("CASCADE_WARM_UP_SIZES", f"512x512,{size}")
        with pytest.raises(SettingsInvalid, match=f"CASCADE_WARM_UP_SIZES: .*1024x1024; {size}"):
            load_settings()


def test_cuda_graphs_need_a_gpu_and_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASCADE_CUDA_GRAPHS_GB", "2.5")
    with pytest.raises(SettingsInvalid, match=r"CASCADE_CUDA_GRAPHS_GB: .*CASCADE_WARM_UP_SIZES"):
        load_settings()
    monkeypatch.setenv("CASCADE_WARM_UP_SIZES", "512x512")
    assert load_settings().cuda_graphs_gb == 2.5
    monkeypatch.setenv("CASCADE_DEVICE", "cpu")
    with pytest.raises(SettingsInvalid, match=r"CASCADE_CUDA_GRAPHS_GB: needs a GPU, .* is cpu"):
        load_settings()
