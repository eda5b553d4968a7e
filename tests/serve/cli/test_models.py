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
    assert shown["terms"] == {"hosting": "allowed", "commercial": "allowed"}


def test_models_shows_what_the_stages_weigh_and_what_the_model_says_of_itself(
    cascade: Cascade,
) -> None:
    shown = json.loads(cascade("models", "--json").stdout)
    composing, _, decoding = shown["stages"]
    assert composing["name"] == "c"
    assert composing["weight_bytes"] > decoding["weight_bytes"] > 100_000
    assert shown["trained_on"].startswith("20,000 scenes")
    printed = cascade("models").stdout
    for told in ("C composing", "offering it to others: allowed", *shown["weaknesses"]):
        assert told in printed


def test_models_says_that_a_licence_must_be_read_which_it_does_not_know(
    cascade: Cascade, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(DEMO_MODEL_DIR, model)
    (model / "cascade.json").write_text(json.dumps({"licence": "Non-Commercial Research"}))
    environment.setenv("CASCADE_MODEL", str(model))
    printed = cascade("models").stdout
    assert "offering it to others: check" in printed
    assert "commercial use: check" in printed


def test_models_names_the_folder_that_is_missing(
    cascade: Cascade, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("CASCADE_MODEL", str(tmp_path / "nowhere"))
    result = cascade("models")
    assert result.exit_code == 1
    assert str(tmp_path / "nowhere") in result.stderr
