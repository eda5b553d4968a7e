"""Folders of flow models: what they hold, what they share, and what is wrong with them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cascade_core.checkpoints.checkpoint import Checkpoint, ModelSource, open_checkpoint
from cascade_core.checkpoints.model_folders import DEMO_MODEL_DIR
from cascade_core.checkpoints.schedules import load_flow_schedule
from cascade_core.errors import ModelUnavailable
from cascade_core.families.flow import FLOW
from tests.flow_model import SHIFT, write_flow_model

SHARED = ("text_encoder", "tokenizer", "vqgan")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_flow_model(tmp_path / "model")


def opened(folder: Path) -> Checkpoint:
    return open_checkpoint(ModelSource(model=str(folder)))


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_the_index_makes_a_folder_a_flow_model_and_shared_parts_come_from_the_demo(
    folder: Path,
) -> None:
    checkpoint = opened(folder)
    assert checkpoint.family == FLOW.name
    assert checkpoint.id == "tiny-flow"
    assert checkpoint.component("denoiser") == folder / "denoiser"
    for name in SHARED:
        assert checkpoint.component(name) == DEMO_MODEL_DIR / name
    assert checkpoint.previewer == DEMO_MODEL_DIR / "preview.json"
    assert checkpoint.picture_encoder is None


def test_parts_of_its_own_count_more_than_shared_ones(folder: Path) -> None:
    before = opened(folder).fingerprint
    for name in SHARED:
        shutil.copytree(DEMO_MODEL_DIR / name, folder / name)
    change(folder / "cascade.json", components_of=None)
    checkpoint = opened(folder)
    assert {checkpoint.component(name).parent for name in SHARED} == {folder}
    # The files are equal, and so is the model.
    assert checkpoint.fingerprint == before


def test_other_weights_of_the_denoiser_give_another_fingerprint(
    folder: Path, tmp_path: Path
) -> None:
    other = write_flow_model(tmp_path / "other", seed=1)
    assert opened(other).fingerprint != opened(folder).fingerprint


def test_a_folder_without_a_part_and_without_a_lender_is_refused(folder: Path) -> None:
    change(folder / "cascade.json", components_of=None)
    with pytest.raises(ModelUnavailable, match="text_encoder"):
        opened(folder)


@pytest.mark.parametrize("lender", ["other", "../demo_model", 3])
def test_only_an_embedded_model_lends_parts(folder: Path, lender: object) -> None:
    change(folder / "cascade.json", components_of=lender)
    with pytest.raises(ModelUnavailable, match="components_of must be one of demo"):
        opened(folder)


def test_the_schedule_has_the_shift_of_the_file(folder: Path) -> None:
    assert load_flow_schedule(opened(folder)).shift == SHIFT


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"_class_name": "DDPMWuerstchenScheduler"}, "FlowMatchEulerDiscreteScheduler"),
        ({"shift": 0}, "more than 0"),
        ({"shift": "much"}, "could not convert"),
        ({"shift": float("nan")}, "more than 0"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(
    folder: Path, changed: dict[str, object], said: str
) -> None:
    change(folder / "scheduler" / "scheduler_config.json", **changed)
    with pytest.raises(ModelUnavailable, match=said):
        load_flow_schedule(opened(folder))


def test_a_folder_without_a_schedule_is_refused(folder: Path) -> None:
    shutil.rmtree(folder / "scheduler")
    with pytest.raises(ModelUnavailable, match="scheduler"):
        load_flow_schedule(opened(folder))
