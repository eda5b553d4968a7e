"""Which models a service is told to run: names with commas, or a TOML file."""

from __future__ import annotations

from pathlib import Path

import pytest

from cascade_core.checkpoints.checkpoint import ModelSource
from cascade_core.errors import SettingsInvalid
from serve.model_list import read_model_list
from serve.settings import Settings, load_settings

COMMIT = "0123456789" * 4


def test_names_folders_and_pinned_hub_ids_come_in_their_order() -> None:
    assert read_model_list(f"demo, ~/models/mine,me/model@{COMMIT}") == (
        ModelSource("demo"),
        ModelSource("~/models/mine"),
        ModelSource("me/model", revision=COMMIT),
    )


def test_a_file_says_more_of_each_model(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text(
        '[[models]]\nmodel = "demo"\n[[models]]\nmodel = "me/model"\nprior_model = "me/prior"\n'
        f'revision = "{COMMIT}"\nvariant = "bf16"\ndecoder_size = "lite"\n'
    )
    assert read_model_list(str(path)) == (
        ModelSource("demo"),
        ModelSource("me/model", "me/prior", revision=COMMIT, variant="bf16", decoder_size="lite"),
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("models = [", "is not valid TOML"),
        ("", r"must hold one or more tables \[\[models\]\]"),
        ("models = []", r"must hold one or more tables \[\[models\]\]"),
        ('other = 1\n[[models]]\nmodel = "demo"', "nothing else"),
        ("[[models]]\nrevision = 'x'", "must name its model"),
        ("[[models]]\nmodel = ''", "must name its model"),
        ("[[models]]\nmodel = 'demo'\nsize = 'lite'", "size is none of model, prior_model"),
        ("[[models]]\nmodel = 'demo'\nvariant = 'fp8'", "variant must be '' or 'bf16', got 'fp8'"),
        ("[[models]]\nmodel = 'demo'\nrevision = 7", "revision must be a text, got 7"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "models.toml"
    path.write_text(text)
    with pytest.raises(SettingsInvalid, match=told) as caught:
        read_model_list(str(path))
    assert str(path) in caught.value.message


@pytest.mark.parametrize("folder", ["", "/", "~nobody-of-this-name/"])
def test_a_file_that_is_not_there_is_named(folder: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"none\.toml cannot be read: No such file"):
        read_model_list(f"{folder}none.toml")


def test_a_list_without_a_name_is_an_error() -> None:
    with pytest.raises(SettingsInvalid, match="CASCADE_MODELS names no model, got ' , '"):
        read_model_list(" , ")


def test_without_a_list_the_one_model_is_served(tmp_path: Path) -> None:
    assert Settings(data_dir=tmp_path).model_sources() == (ModelSource(),)


@pytest.mark.parametrize("beside", ["CASCADE_MODEL", "CASCADE_PRIOR_MODEL", "CASCADE_STAGE_C_SIZE"])
def test_a_list_beside_a_single_model_is_an_error(
    monkeypatch: pytest.MonkeyPatch, beside: str
) -> None:
    monkeypatch.setenv("CASCADE_MODELS", "demo")
    monkeypatch.setenv(beside, "lite" if beside.endswith("SIZE") else "demo")
    with pytest.raises(SettingsInvalid, match=f"several models, so {beside} must not be set"):
        load_settings()
