"""The check at real size works at a tiny one: files that load, memory as Linux counts it."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from bench.real_size.checkpoint import write_checkpoint
from bench.real_size.loading import loading, memory_bytes
from bench.real_size.table import table
from cascade_core.checkpoints.checkpoint import ModelSource, open_checkpoint
from cascade_core.checkpoints.weights import Placement
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.pipeline import CascadePipeline
from cascade_core.request import GenerationRequest

MIB = 2**20


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    return write_checkpoint("tiny", tmp_path_factory.mktemp("published"))


def test_a_model_in_the_published_layout_makes_a_picture(source: ModelSource) -> None:
    checkpoint = open_checkpoint(source)
    assert checkpoint.weight_files("prior")[0].name == "diffusion_pytorch_model.bf16.safetensors"
    assert checkpoint.weight_files("text_encoder")[0].name == "model.bf16.safetensors"
    pipeline = CascadePipeline.load(checkpoint, Placement("cpu", "bfloat16"), STABLE_CASCADE)
    request = GenerationRequest(
        prompt="a fox", width=256, height=256, seed=1, decoder_seed=1, steps=1, decoder_steps=1
    )
    assert pipeline.run(request).pixels_hwc.shape == (256, 256, 3)


def test_lite_unets_have_the_folders_that_the_service_looks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.published import SCALES

    monkeypatch.setitem(SCALES, "lite", SCALES["tiny"])
    found = open_checkpoint(write_checkpoint("lite", tmp_path)).components
    assert (found["prior"].name, found["decoder"].name) == ("prior_lite", "decoder_lite")


def test_the_check_shows_what_each_stage_loaded_and_what_was_not_measured(
    source: ModelSource,
) -> None:
    stages = {name: loading(name, source) for name in STABLE_CASCADE.names}
    weights_bytes = {name: row["weights_bytes"] for name, row in stages.items()}
    assert weights_bytes["c"] > weights_bytes["a"] > 0
    found = {"loading": stages, "picture": {"width": 256, "steps": 1, "decoder_steps": 1}}
    shown = table({"sizes": {"tiny": found}})
    assert "| Stage C |" in shown
    assert "Not measured: the service on it." in shown
    assert "Not measured: the size `full`, the size `lite`, the published weights" in shown


def test_memory_that_a_process_fills_is_private_and_a_file_that_it_reads_is_mapped(
    tmp_path: Path,
) -> None:
    path = tmp_path / "weights"
    path.write_bytes(bytes(64 * MIB))
    before = memory_bytes()
    filled = bytearray(b"1") * (64 * MIB)
    private = memory_bytes()
    assert private["private"] - before["private"] > 60 * MIB
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert mapped[:: mmap.PAGESIZE].count(0) == 64 * MIB // mmap.PAGESIZE
        both = memory_bytes()
    assert both["mapped"] - private["mapped"] > 60 * MIB
    assert both["peak"] >= both["resident"] > before["resident"]
    del filled
