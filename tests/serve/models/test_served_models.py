"""The models of a service: their names, their deployments, and which one a request means."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from cascade_core.checkpoints.checkpoint import ModelSource
from cascade_core.checkpoints.model_folders import DEMO_MODEL_DIR
from cascade_core.errors import ModelUnavailable, NotFound, SettingsInvalid
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.handoff import ModelRef
from cascade_core.request import GenerationRequest
from serve.served_models import Models, OpenModel, choose_models, open_models
from tests.serve.served import CHECKPOINT

OTHER = OpenModel(
    STABLE_CASCADE.served_as("other"), replace(CHECKPOINT, id="me/other", fingerprint="f2")
)
MODELS = Models([OpenModel(STABLE_CASCADE, CHECKPOINT), OTHER], ["dall-e-3"])


def test_a_request_that_names_none_means_the_first_model() -> None:
    assert MODELS.find(None).id == "demo"
    assert MODELS.find("dall-e-3").id == "demo"
    assert MODELS.find("me/other") is OTHER
    with pytest.raises(NotFound, match="served here: 'demo', 'me/other'") as caught:
        MODELS.find("gone")
    assert caught.value.field == "model"


def test_a_stored_request_keeps_its_model_and_an_older_one_means_the_first() -> None:
    request = GenerationRequest(prompt="x", width=256, height=256, seed=1, decoder_seed=1)
    assert MODELS.of(request).id == "demo"
    assert MODELS.of(replace(request, model="me/other")) is OTHER
    gone = replace(request, model="gone")
    with pytest.raises(NotFound):
        MODELS.of(gone)
    assert MODELS.known_or_default(gone).id == "demo"


def test_a_latent_knows_its_model() -> None:
    assert MODELS.with_weights_of(ModelRef("me/other", "r1", "f2")) is OTHER
    assert MODELS.with_weights_of(ModelRef("me/other", "r1", "f0")) is None


def test_of_models_of_equal_weights_a_latent_goes_back_to_the_one_of_its_name() -> None:
    twin = OpenModel(OTHER.family, replace(OTHER.checkpoint, id="twin"))
    models = Models([OTHER, twin])
    assert models.with_weights_of(ModelRef("twin", "r1", "f2")) is twin
    assert models.with_weights_of(ModelRef("renamed", "r1", "f2")) is OTHER


def copied(folder: Path, name: str) -> ModelSource:
    """A second model: the embedded one under another name."""
    shutil.copytree(DEMO_MODEL_DIR, folder)
    about = json.loads((folder / "cascade.json").read_text())
    (folder / "cascade.json").write_text(json.dumps(about | {"name": name}))
    return ModelSource(str(folder))


def test_each_further_model_has_deployments_of_its_own(tmp_path: Path) -> None:
    chosen = choose_models([ModelSource(), copied(tmp_path / "second", "Second Model 2")])
    deployments = [[stage.deployment for stage in model.family.stages] for model in chosen]
    assert deployments == [
        ["StageC", "StageB", "StageA"],
        ["StageC@second-model-2", "StageB@second-model-2", "StageA@second-model-2"],
    ]
    assert [model.id for model in open_models(chosen)] == ["demo", "Second Model 2"]


@pytest.mark.parametrize("name", ["模型", "ab-" + "b" * 39, "-_-"])
def test_a_further_model_of_any_name_has_deployments_of_its_own(tmp_path: Path, name: str) -> None:
    first, second = choose_models([ModelSource(), copied(tmp_path / "second", name)])
    own = {stage.deployment for stage in second.family.all_stages}
    assert own.isdisjoint(stage.deployment for stage in first.family.all_stages)
    assert all(re.fullmatch("Stage[A-E]@[a-z0-9][a-z0-9-]*", deployment) for deployment in own)


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="two models have the name Demo"):
        choose_models([ModelSource(), copied(tmp_path / "second", "Demo")])


def test_a_pipeline_that_no_family_runs_is_named(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "KandinskyPipeline"}')
    with pytest.raises(ModelUnavailable, match="KandinskyPipeline, which is no pipeline"):
        choose_models([ModelSource(str(tmp_path))])
