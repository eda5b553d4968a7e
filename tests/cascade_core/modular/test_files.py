"""Models in diffusers' layout are found by their index, and what is missing is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
from transformers import Qwen3Model

from cascade_core.checkpoints import hub
from cascade_core.checkpoints.checkpoint import Checkpoint, ModelSource, open_checkpoint
from cascade_core.checkpoints.diffusers_index import hub_patterns
from cascade_core.checkpoints.weights import Placement
from cascade_core.errors import ModelUnavailable
from cascade_core.families.registry import FAMILIES
from cascade_core.pipeline import CascadePipeline
from cascade_core.stages.modular.recipes import DENOISING
from tests.cascade_core.modular.requests import request, whole_pipeline
from tests.cascade_core.modular.tiny_models import WRITERS

Folders = Callable[[str], Path]


def opened(folder: Path, **changes: Any) -> Checkpoint:
    return open_checkpoint(ModelSource(model=str(folder), **changes))


@pytest.fixture
def copied(folder_of: Folders, tmp_path: Path) -> Callable[[str], Path]:
    return lambda family: shutil.copytree(folder_of(family), tmp_path / family)


def change_index(folder: Path, **entries: Any) -> None:
    path = folder / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


@pytest.mark.parametrize("family", WRITERS)
def test_the_family_is_found_by_the_class_of_the_pipeline(folder_of: Folders, family: str) -> None:
    checkpoint = opened(folder_of(family))

    assert checkpoint.family == family
    schedulers = {"scheduler", "prior_scheduler"} if family == "sdxl_refiner" else {"scheduler"}
    assert checkpoint.components.keys() == {*FAMILIES[family].components, *schedulers}
    assert checkpoint.defaults == FAMILIES[family].defaults
    assert checkpoint.id == f"tiny-{family}"
    assert checkpoint.revision == checkpoint.fingerprint[:12]


def test_a_fingerprint_is_of_weights_and_configuration(copied: Callable[[str], Path]) -> None:
    folder = copied("z_image")
    before = opened(folder).fingerprint
    assert opened(folder).fingerprint == before
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    changed = opened(folder).fingerprint
    assert changed != before
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    assert opened(folder).fingerprint not in (before, changed)


@pytest.mark.parametrize(
    "file",
    [
        "transformer/diffusion_pytorch_model.safetensors",
        "text_encoder/config.json",
        "tokenizer/tokenizer_config.json",
        "scheduler/scheduler_config.json",
    ],
)
def test_a_missing_file_is_named(copied: Callable[[str], Path], file: str) -> None:
    folder = copied("z_image")
    (folder / file).unlink()

    with pytest.raises(ModelUnavailable, match=file):
        opened(folder)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"transformer": [None, None]}, "lists no transformer"),
        ({"transformer": ["os", "system"]}, "only classes of diffusers and transformers"),
        ({"_class_name": "MadeUpPipeline"}, "MadeUpPipeline"),
    ],
    ids=["absent", "foreign", "another pipeline"],
)
def test_an_index_that_cannot_be_used_is_refused(
    copied: Callable[[str], Path], entries: dict[str, Any], words: str
) -> None:
    folder = copied("z_image")
    change_index(folder, **entries)

    with pytest.raises(ModelUnavailable, match=words):
        opened(folder)


def test_a_class_that_the_library_lacks_is_named_at_loading(copied: Callable[[str], Path]) -> None:
    folder = copied("sdxl")
    change_index(folder, unet=["diffusers", "MadeUpModel"])

    with pytest.raises(ModelUnavailable, match="has no MadeUpModel"):
        CascadePipeline.load(opened(folder), Placement("cpu", "float32"), FAMILIES["sdxl"])


def test_weights_that_do_not_fit_are_an_error_of_the_model(copied: Callable[[str], Path]) -> None:
    folder = copied("sdxl")
    (folder / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"weights")

    with pytest.raises(ModelUnavailable, match="vae"):
        CascadePipeline.load(opened(folder), Placement("cpu", "float32"), FAMILIES["sdxl"])


def test_a_model_that_needs_guidance_is_no_distilled_one(copied: Callable[[str], Path]) -> None:
    folder = copied("flux2_klein")
    change_index(folder, is_distilled=False)

    with pytest.raises(ModelUnavailable, match="only the distilled models run here"):
        opened(folder)


def test_a_refiner_needs_the_model_whose_pictures_it_refines(
    copied: Callable[[str], Path], folder_of: Folders
) -> None:
    folder = copied("sdxl_refiner")
    inside = opened(folder)
    shutil.rmtree(folder / "base")
    with pytest.raises(ModelUnavailable, match="set the prior model"):
        opened(folder)
    beside = opened(folder, prior_model=str(folder_of("sdxl")))

    assert beside.components["prior_unet"] == folder_of("sdxl") / "unet"
    assert beside.fingerprint == inside.fingerprint
    with pytest.raises(ModelUnavailable, match="text_encoder"):
        opened(folder, prior_model=str(folder))


def test_stable_diffusion_3_runs_without_its_largest_text_encoder(
    copied: Callable[[str], Path],
) -> None:
    folder = copied("sd3")
    change_index(folder, text_encoder_3=[None, None], tokenizer_3=[None, None])
    pipeline = CascadePipeline.load(opened(folder), Placement("cpu", "float32"), FAMILIES["sd3"])

    assert pipeline.run(request(steps=2)).pixels_hwc.std() > 0


def test_a_model_saved_by_a_modular_pipeline_is_read_by_its_own_index(
    folder_of: Folders, pipeline_of: Callable[[str], CascadePipeline], tmp_path: Path
) -> None:
    whole = whole_pipeline(folder_of("z_image"), DENOISING["z_image"], 1.0)
    folder = tmp_path / "saved"
    whole.save_pretrained(str(folder), overwrite_modular_index=True)
    assert not (folder / "model_index.json").exists()
    saved = CascadePipeline.load(opened(folder), Placement("cpu", "float32"), FAMILIES["z_image"])
    pictures = [
        pipeline.run(request(steps=2)).pixels_hwc for pipeline in (saved, pipeline_of("z_image"))
    ]

    assert np.array_equal(*pictures)


def test_weights_in_shards_are_those_in_one_file(
    copied: Callable[[str], Path], pipeline_of: Callable[[str], CascadePipeline]
) -> None:
    folder = copied("z_image")
    kinds = {"transformer": diffusers.ZImageTransformer2DModel, "text_encoder": Qwen3Model}
    for name, kind in kinds.items():
        part = kind.from_pretrained(folder / name)
        shutil.rmtree(folder / name)
        part.save_pretrained(folder / name, max_shard_size="20KB")
        assert len(list((folder / name).glob("*-of-*.safetensors"))) > 1
    sharded = CascadePipeline.load(opened(folder), Placement("cpu", "float32"), FAMILIES["z_image"])
    pictures = [
        pipeline.run(request(steps=2)).pixels_hwc for pipeline in (sharded, pipeline_of("z_image"))
    ]

    assert np.array_equal(*pictures)
    shard = sorted((folder / "transformer").glob("*-of-*.safetensors"))[-1]
    shard.unlink()
    with pytest.raises(ModelUnavailable, match=shard.name):
        opened(folder)


def test_pinned_repositories_are_known_by_their_commits(
    folder_of: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = {"own/refiner": folder_of("sdxl_refiner"), "own/base": folder_of("sdxl")}
    asked: dict[str, set[str]] = {name: set() for name in folders}

    def download(name: str, _commit: str, patterns: list[str], _cached_only: bool) -> Path:
        asked[name].update(patterns)
        return folders[name]

    monkeypatch.setattr(hub, "download", download)
    source = ModelSource("own/refiner", "own/base", "a" * 40, "b" * 40)
    decoding = open_checkpoint(source, ["vae"])
    assert not any("unet" in pattern for pattern in asked["own/refiner"] | asked["own/base"])
    whole = open_checkpoint(source)

    assert "unet/diffusion_pytorch_model.safetensors" in asked["own/base"] & asked["own/refiner"]
    assert (whole.id, whole.revision) == ("own/refiner", "a" * 40)
    assert whole.fingerprint == decoding.fingerprint
    assert open_checkpoint(replace(source, prior_revision="c" * 40)).fingerprint not in (
        whole.fingerprint,
    )


@pytest.mark.parametrize(
    ("name", "licence"),
    [
        ("black-forest-labs/FLUX.2-klein-4B", "Apache-2.0"),
        ("black-forest-labs/FLUX.2-klein-9B", "said to be non-commercial"),
        ("somebody-else/klein", "not stated"),
    ],
)
def test_the_licence_is_that_of_the_publisher(
    folder_of: Folders, monkeypatch: pytest.MonkeyPatch, name: str, licence: str
) -> None:
    monkeypatch.setattr(hub, "download", lambda *_: folder_of("flux2_klein"))

    assert open_checkpoint(ModelSource(name, revision="a" * 40)).licence.startswith(licence)


def test_a_hub_is_asked_for_configuration_and_the_weights_of_the_parts_alone() -> None:
    patterns = hub_patterns(["vae"], "bf16")

    assert "*.json" in patterns
    assert "vae/diffusion_pytorch_model.bf16.safetensors" in patterns
    assert not any(pattern.startswith("unet") or pattern == "*" for pattern in patterns)
