"""Opening models by hub id: pinned commits, the cache, and what is downloaded."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import filter_repo_objects

from cascade_core.checkpoints.checkpoint import ModelSource, open_checkpoint
from cascade_core.checkpoints.layout import hub_patterns
from cascade_core.errors import ModelUnavailable
from cascade_core.families.component_folders import folders_of_sizes
from cascade_core.families.stable_cascade import LICENCE, STABLE_CASCADE

COMMIT, PRIOR_COMMIT = "a" * 40, "0123456789" * 4


@pytest.fixture
def hub_cache(two: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The two folders as huggingface_hub caches them; the network stays closed."""
    decoder, prior = two
    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    for folder, repo, commit in (
        (decoder, "stable-cascade", COMMIT),
        (prior, "stable-cascade-prior", PRIOR_COMMIT),
    ):
        shutil.copytree(folder, cache / f"models--stabilityai--{repo}" / "snapshots" / commit)
    return cache


def test_pinned_hub_ids_resolve_both_repositories(hub_cache: Path, no_network: None) -> None:
    source = ModelSource("stabilityai/stable-cascade", revision=COMMIT, prior_revision=PRIOR_COMMIT)
    assert source.is_hub
    checkpoint = open_checkpoint(source)
    assert checkpoint.id == "stabilityai/stable-cascade"
    assert checkpoint.revision == COMMIT
    assert checkpoint.licence == LICENCE.text
    assert (checkpoint.hosting, checkpoint.commercial) == ("forbidden", "forbidden")
    assert checkpoint.component("prior").parent.name == PRIOR_COMMIT
    assert checkpoint.component("decoder").parent.name == COMMIT


def test_a_decoder_of_ones_own_does_not_free_the_published_prior(
    hub_cache: Path, no_network: None
) -> None:
    decoder = hub_cache / "models--stabilityai--stable-cascade" / "snapshots" / COMMIT
    (decoder / "cascade.json").write_text('{"licence": "MIT"}')
    name = "stabilityai/stable-cascade-prior"
    source = ModelSource(str(decoder), prior_model=name, prior_revision=PRIOR_COMMIT)
    checkpoint = open_checkpoint(source)
    assert (checkpoint.hosting, checkpoint.licence) == ("forbidden", LICENCE.text)


def test_the_fingerprint_of_hub_models_is_that_of_their_commits(
    hub_cache: Path, no_network: None
) -> None:
    source = ModelSource("stabilityai/stable-cascade", revision=COMMIT, prior_revision=PRIOR_COMMIT)
    whole = open_checkpoint(source).fingerprint
    decoder = hub_cache / "models--stabilityai--stable-cascade" / "snapshots" / COMMIT
    for name in ("text_encoder", "tokenizer", "decoder_lite"):
        shutil.rmtree(decoder / name)
    assert open_checkpoint(source, STABLE_CASCADE.stage("b").components).fingerprint == whole
    lite = open_checkpoint(replace(source, prior_size="lite")).fingerprint
    assert lite != whole


def test_an_unreachable_hub_is_one_clear_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # or it tries again for half a minute
    with pytest.raises(
        ModelUnavailable, match="cannot fetch stabilityai/x at aaaaaaaaaaaa"
    ) as caught:
        open_checkpoint(ModelSource("stabilityai/x", revision=COMMIT))
    assert "\n" not in caught.value.message


REPOSITORY = [
    "model_index.json",
    "decoder/config.json",
    "decoder/diffusion_pytorch_model.bf16.safetensors",
    "decoder/diffusion_pytorch_model.safetensors",
    "decoder_lite/config.json",
    "decoder_lite/diffusion_pytorch_model.bf16.safetensors",
    "vqgan/config.json",
    "vqgan/diffusion_pytorch_model.bf16.safetensors",
    "vqgan/diffusion_pytorch_model.safetensors",
    "text_encoder/model.bf16.safetensors",
    "text_encoder/model.safetensors",
    "tokenizer/merges.txt",
    "tokenizer/tokenizer.json",
    "prior/diffusion_pytorch_model.bf16.safetensors",
    "prior/diffusion_pytorch_model-00001-of-00002.safetensors",
    "previewer.safetensors",
    "stage_b.safetensors",
    "controlnet/canny.safetensors",
]


def downloaded(stage: str, variant: Any, size: Any = "full") -> set[str]:
    patterns = hub_patterns(
        folders_of_sizes(STABLE_CASCADE.folders, size, size),
        STABLE_CASCADE.stage(stage).components,
        variant,
    )
    kept = filter_repo_objects(REPOSITORY, allow_patterns=patterns)
    return {name for name in kept if name.endswith(".safetensors")}


def test_only_the_weights_of_a_stage_are_downloaded() -> None:
    assert downloaded("b", "bf16") == {
        "decoder/diffusion_pytorch_model.bf16.safetensors",
        "vqgan/diffusion_pytorch_model.bf16.safetensors",
    }
    assert downloaded("a", "") == {"vqgan/diffusion_pytorch_model.safetensors"}
    assert downloaded("c", "") == {
        "prior/diffusion_pytorch_model-00001-of-00002.safetensors",
        "text_encoder/model.safetensors",
        "previewer.safetensors",
    }
    assert "decoder_lite/diffusion_pytorch_model.bf16.safetensors" in downloaded(
        "b", "bf16", "lite"
    )


def test_all_configuration_and_the_tokenizer_are_always_downloaded() -> None:
    patterns = hub_patterns(folders_of_sizes(STABLE_CASCADE.folders, "full", "full"), (), "bf16")
    kept = set(filter_repo_objects(REPOSITORY, allow_patterns=patterns))
    assert kept == {name for name in REPOSITORY if not name.endswith(".safetensors")}
