"""``cascade models``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cascade_core.checkpoints.model_folders import DEMO_MODEL_DIR
from tests.serve.cli.cascade import Cascade


def test_models_shows_each_part_with_its_size_and_the_licence(cascade: Cascade) -> None:
    shown = json.loads(cascade("models", "--json").stdout)
    sizes = {part["name"]: part["size_bytes"] for part in shown["components"]}
    assert {"prior", "text_encoder", "tokenizer", "decoder", "vqgan"} <= sizes.keys()
    assert sizes["prior"] > 1_000_000
    assert shown["licence"] == "Apache-2.0"
    assert shown["is_commercial_use_allowed"]


def test_models_warns_of_a_non_commercial_licence(
    cascade: Cascade, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(DEMO_MODEL_DIR, model)
    (model / "cascade.json").write_text(json.dumps({"licence": "Non-Commercial Research"}))
    environment.setenv("CASCADE_MODEL", str(model))
    assert "NOT for commercial use" in cascade("models").stdout


def test_models_names_the_folder_that_is_missing(
    cascade: Cascade, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("CASCADE_MODEL", str(tmp_path / "nowhere"))
    result = cascade("models")
    assert result.exit_code == 1
    assert str(tmp_path / "nowhere") in result.stderr
