"""Würstchen's folders, opened by what their ``model_index.json`` says, and drawn with."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub.utils import filter_repo_objects

from cascade_core.checkpoints.checkpoint import ModelSource, find_family, open_checkpoint
from cascade_core.checkpoints.weights import Placement
from cascade_core.errors import ModelUnavailable
from cascade_core.families.licence import Licence
from cascade_core.families.registry import FAMILIES
from cascade_core.families.wuerstchen import WUERSTCHEN
from cascade_core.pipeline import CascadePipeline
from cascade_core.request import GenerationRequest
from tests.tiny_wuerstchen import build_tiny_wuerstchen, write_combined, write_two

COMMIT, PRIOR_COMMIT = "a" * 40, "b" * 40
DECODER_WEIGHTS = (
    "decoder/diffusion_pytorch_model.safetensors",
    "text_encoder/model.safetensors",
    "vqgan/diffusion_pytorch_model.safetensors",
)
PRIOR_WEIGHTS = (
    "prior/diffusion_pytorch_model.safetensors",
    "text_encoder/model.safetensors",
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One combined folder and the two of the published layout, of one model."""
    root, model = tmp_path_factory.mktemp("models"), build_tiny_wuerstchen()
    write_combined(model, root / "combined")
    write_two(model, root)
    return root


def places(folder: Path, prior: Path) -> dict[str, str]:
    checkpoint = open_checkpoint(ModelSource(str(folder), str(prior) if prior != folder else ""))
    return {
        name: str(checkpoint.component(name).relative_to(folder.parent))
        for name in WUERSTCHEN.folders
    }


def test_the_two_published_folders_are_one_model(folders: Path) -> None:
    decoder, prior = folders / "wuerstchen", folders / "wuerstchen-prior"
    assert places(decoder, prior) == {
        "prior": "wuerstchen-prior/prior",
        "text_encoder": "wuerstchen-prior/text_encoder",
        "tokenizer": "wuerstchen-prior/tokenizer",
        "prior_scheduler": "wuerstchen-prior/scheduler",
        "decoder": "wuerstchen/decoder",
        "decoder_text_encoder": "wuerstchen/text_encoder",
        "decoder_tokenizer": "wuerstchen/tokenizer",
        "vqgan": "wuerstchen/vqgan",
        "decoder_scheduler": "wuerstchen/scheduler",
    }


def test_a_combined_folder_is_a_model(folders: Path) -> None:
    combined = folders / "combined"
    assert places(combined, combined) == {
        "prior": "combined/prior_prior",
        "text_encoder": "combined/prior_text_encoder",
        "tokenizer": "combined/prior_tokenizer",
        "prior_scheduler": "combined/prior_scheduler",
        "decoder": "combined/decoder",
        "decoder_text_encoder": "combined/text_encoder",
        "decoder_tokenizer": "combined/tokenizer",
        "vqgan": "combined/vqgan",
        "decoder_scheduler": "combined/scheduler",
    }


@pytest.mark.parametrize("name", ["combined", "wuerstchen", "wuerstchen-prior"])
def test_a_folder_is_known_by_its_model_index(name: str, folders: Path) -> None:
    family = find_family(ModelSource(str(folders / name)))
    assert family is WUERSTCHEN
    assert FAMILIES["wuerstchen"] is family


def test_an_opened_model_has_its_familys_defaults_and_names_its_licence(folders: Path) -> None:
    checkpoint = open_checkpoint(ModelSource(str(folders / "wuerstchen")))
    assert (checkpoint.family, checkpoint.id) == ("wuerstchen", "wuerstchen")
    assert checkpoint.defaults == WUERSTCHEN.defaults
    assert "MIT" in checkpoint.licence
    assert "not stated" in checkpoint.licence
    assert checkpoint.hosting == "check"
    assert WUERSTCHEN.licence("warp-ai/wuerstchen", "") == Licence("MIT", "allowed", "allowed")
    assert checkpoint.picture_encoder is None


@pytest.mark.parametrize("name", ["combined", "wuerstchen"])
def test_an_opened_model_draws_varies_and_draws_new_details(name: str, folders: Path) -> None:
    checkpoint = open_checkpoint(ModelSource(str(folders / name)))
    family = FAMILIES[checkpoint.family]
    pipeline = CascadePipeline.load(checkpoint, Placement("cpu"), family)
    request = GenerationRequest(
        prompt="a red ring", width=256, height=256, seed=1, decoder_seed=2, steps=3, decoder_steps=2
    )
    values = request.to_dict() | {"latent_id": "x", "seed": 5, "decoder_seed": 5}
    new = pipeline.run(request)
    varied, detailed = (
        pipeline.run(GenerationRequest.from_dict(values | change), new.latent)
        for change in ({"kind": "vary", "strength": 0.7}, {"kind": "vary_details"})
    )
    pictures = [new.pixels_hwc, varied.pixels_hwc, detailed.pixels_hwc]
    assert [picture.shape for picture in pictures] == [(256, 256, 3)] * 3
    assert not any(np.array_equal(pictures[0], other) for other in pictures[1:])
    assert [list(one.seconds) for one in (new, varied, detailed)] == [
        ["c", "b", "a"],
        ["c", "b", "a"],
        ["b", "a"],
    ]


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("wuerstchen/text_encoder", "has no text_encoder folder.*a Würstchen v2 model"),
        ("wuerstchen-prior/text_encoder", "has no prior_text_encoder or text_encoder folder"),
        ("wuerstchen-prior/prior", "has no prior or prior_prior folder"),
        ("wuerstchen-prior", "has no prior folder and .*wuerstchen-prior does not exist"),
    ],
)
def test_a_folder_that_is_not_there_is_named(
    lost: str, message: str, folders: Path, tmp_path: Path
) -> None:
    own = Path(shutil.copytree(folders, tmp_path / "own"))
    shutil.rmtree(own / lost)
    with pytest.raises(ModelUnavailable, match=message):
        open_checkpoint(ModelSource(str(own / "wuerstchen")))


def test_a_changed_text_encoder_of_either_stage_makes_another_model(
    folders: Path, tmp_path: Path
) -> None:
    own = Path(shutil.copytree(folders, tmp_path / "own"))
    found = {open_checkpoint(ModelSource(str(own / "wuerstchen"))).fingerprint}
    for name in ("wuerstchen", "wuerstchen-prior"):
        path = own / name / "text_encoder" / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"\1")
        found.add(open_checkpoint(ModelSource(str(own / "wuerstchen"))).fingerprint)
    assert len(found) == 3


@pytest.mark.parametrize(
    ("stage", "of_prior", "of_decoder"),
    [("c", PRIOR_WEIGHTS, ()), ("b", (), DECODER_WEIGHTS), ("a", (), DECODER_WEIGHTS[-1:])],
)
def test_a_stage_downloads_the_weights_that_it_loads(
    stage: str,
    of_prior: tuple[str, ...],
    of_decoder: tuple[str, ...],
    folders: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_network: None,
) -> None:
    asked: dict[str, list[str]] = {}

    def download(repo_id: str, _commit: str, patterns: list[str], _cached_only: bool) -> Path:
        asked[repo_id] = patterns
        return folders / repo_id.partition("/")[2]

    monkeypatch.setattr("cascade_core.checkpoints.hub.download", download)
    source = ModelSource("warp-ai/wuerstchen", revision=COMMIT, prior_revision=PRIOR_COMMIT)
    checkpoint = open_checkpoint(source, WUERSTCHEN.stage(stage).components)
    assert (checkpoint.id, checkpoint.revision) == ("warp-ai/wuerstchen", COMMIT)
    assert checkpoint.licence == "MIT"
    prior, decoder = asked["warp-ai/wuerstchen-prior"], asked["warp-ai/wuerstchen"]
    assert set(filter_repo_objects(PRIOR_WEIGHTS, allow_patterns=prior)) == set(of_prior)
    assert set(filter_repo_objects(DECODER_WEIGHTS, allow_patterns=decoder)) >= set(of_decoder)
