"""The exported folder says what stock loaders expect, and the model card what was measured."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recipe import scale as scales
from recipe.export import CLASSES, SUGGESTIONS, preview_maps, serving_defaults
from recipe.flow import flow_export
from recipe.model_card import keep_training_runs, model_card
from recipe.scale import FLOW_DIR, FULL, MODEL_DIR, SMOKE
from recipe.scenes.data import make_chunk
from recipe.scenes.scene import COLOUR_NAMES, SHAPES


@pytest.fixture
def _work_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scales, "WORK_DIR", tmp_path)


def test_index_names_the_vqgan_library_as_published_repositories_do() -> None:
    assert CLASSES["vqgan"] == ("wuerstchen", "PaellaVQModel")
    for name in ("text_encoder", "tokenizer"):
        assert CLASSES[f"prior_{name}"] == CLASSES[name]


def test_suggestions_ask_for_shapes_and_colours_the_model_knows() -> None:
    assert 8 <= len(SUGGESTIONS) <= 12
    for suggestion in SUGGESTIONS:
        words = suggestion.split()
        assert any(shape in words for shape in SHAPES)
        assert words[-1] == "background"
        assert words[-2] in COLOUR_NAMES


def test_the_shipped_models_say_of_themselves_what_the_recipe_writes() -> None:
    shipped = json.loads((MODEL_DIR / "cascade.json").read_text())
    assert shipped == json.loads(json.dumps(serving_defaults(FULL)))
    flow = json.loads((FLOW_DIR / "cascade.json").read_text())
    assert flow == json.loads(json.dumps(flow_export.serving_defaults(FULL)))


@pytest.mark.usefixtures("_work_dir")
def test_preview_maps_recover_colours_from_latents_that_hold_them() -> None:
    """Latents whose first three channels are the colour must map back to it exactly."""
    scale = replace(SMOKE, scenes=40, chunk=40)
    data = scale.work_dir / "data"
    data.mkdir(parents=True)
    make_chunk(scale, 0)
    for latents, pictures, side, channels in (
        ("compressed", "thumbnails", 6, 16),
        ("latents", "pictures", 64, 4),
    ):
        colours = np.load(data / f"{pictures}-000.npy").astype(np.float64) / 255
        px = colours.shape[1] // side
        cells = colours.reshape(40, side, px, side, px, 3).mean((2, 4)).transpose(0, 3, 1, 2)
        values = np.random.default_rng(0).standard_normal((40, channels, side, side))
        values[:, :3] = 2 * cells - 1
        np.save(data / f"{latents}-000.npy", values)
    fitted = preview_maps(scale)
    for name, channels in (("stage_c_to_rgb", 16), ("stage_b_to_rgb", 4)):
        weight = np.array(fitted[name]["weight"])
        assert weight.shape == (3, channels)
        assert np.allclose(weight[:, :3], 0.5 * np.eye(3), atol=1e-3)
        assert np.allclose(fitted[name]["bias"], 0.5, atol=1e-3)


@pytest.mark.usefixtures("_work_dir")
def test_card_lists_the_vocabulary_and_admits_when_nothing_was_measured() -> None:
    card = model_card(SMOKE)
    assert all(word in card for word in (*SHAPES, *COLOUR_NAMES))
    assert "Not measured yet" in card
    names = ("is_present", "place", "colour", "shape", "texture")
    shares = {**dict.fromkeys(names, 0.875), "count": 8}
    link = {"background": 1.0, "pictures": 8, "one": shares, "two": shares}
    figures = {
        "weights_mb": 10.7,
        "links": {"C, B, A": link},
        "open_prompts": {},
        "vary_details": {},
    }
    scale = replace(SMOKE, evaluated=1)
    scale.results_dir.mkdir(parents=True)
    (scale.results_dir / "evaluation.json").write_text(json.dumps(figures))
    assert "| C, B, A | 100.0% (68-100) | one | 87.5% (53-98)" in model_card(scale)


@pytest.mark.usefixtures("_work_dir")
def test_the_card_keeps_the_runs_whose_checkpoints_are_elsewhere() -> None:
    kept = SMOKE.results_dir / "training.json"
    kept.parent.mkdir(parents=True)
    kept.write_text(json.dumps({"stage_a": {"steps": 3808, "minutes": 11}}))
    torch.save({"step": 1500, "spent_s": 600.0}, SMOKE.work_dir / "stage_c_continued.pt")
    for _ in range(2):
        keep_training_runs(SMOKE)
        card = model_card(SMOKE)
        assert "| stage a | 3,808 | 11 |" in card
        assert "| stage c continued | 1,500 | 10 |" in card
        (SMOKE.work_dir / "stage_c_continued.pt").unlink(missing_ok=True)
