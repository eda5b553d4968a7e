"""What the weights of stages take, by the headers of their files."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from cascade_core.checkpoints.checkpoint import ModelSource, open_checkpoint
from cascade_core.checkpoints.model_folders import DEMO_MODEL_DIR
from cascade_core.checkpoints.weight_sizes import WeightSize, read_size, stage_sizes
from cascade_core.errors import ModelUnavailable
from cascade_core.families.stable_cascade import STABLE_CASCADE


def written(path: Path) -> Path:
    """A file of 6 + 4 + 1 numbers in 2, 4 and 4 bytes."""
    half, single = np.zeros((2, 3), np.float16), np.zeros(4, np.float32)
    tensors = {"a": half, "b": single, "scalar": np.zeros((), np.float32)}
    save_file(tensors, path, metadata={"format": "pt"})
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DEMO_MODEL_DIR, tmp_path / "model"))


def sizes(model: Path) -> dict[str, WeightSize]:
    return stage_sizes(STABLE_CASCADE, open_checkpoint(ModelSource(str(model)), components=()))


def test_a_header_says_how_many_numbers_and_bytes_there_are(tmp_path: Path) -> None:
    assert read_size(written(tmp_path / "w.safetensors")) == WeightSize(11, 32)


def test_the_weights_themselves_are_not_read(tmp_path: Path) -> None:
    path = written(tmp_path / "w.safetensors")
    path.write_bytes(path.read_bytes()[:-32])
    assert read_size(path) == WeightSize(11, 32)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        (2).to_bytes(8, "little") + b"[]",
        (9).to_bytes(8, "little") + b'{"a": {}}',
        (100).to_bytes(8, "little") + b"{",
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelUnavailable, match=str(path)):
        read_size(path)


def test_a_stage_weighs_what_the_files_weigh_that_it_reads(model: Path) -> None:
    for name in ("vqgan", "decoder"):
        written(model / name / "diffusion_pytorch_model.safetensors")
    assert sizes(model)["a"] == WeightSize(11, 32)
    assert sizes(model)["b"] == WeightSize(22, 64), "it reads Stage A's to fit its previews to them"


def test_a_stage_without_its_files_has_no_size_and_the_others_have(model: Path) -> None:
    (model / "decoder" / "diffusion_pytorch_model.safetensors").unlink()
    assert sizes(model).keys() == {"c", "a"}
    (model / "vqgan" / "diffusion_pytorch_model.safetensors").write_bytes(b"damaged")
    assert sizes(model).keys() == {"c"}
