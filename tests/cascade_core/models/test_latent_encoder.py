"""Our encoder of the demo model against the module that was trained."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from cascade_core.checkpoints.checkpoint import ModelSource, open_checkpoint
from cascade_core.checkpoints.weights import load_picture_encoder
from cascade_core.conditioning.latent_encoder import LatentEncoder
from cascade_core.errors import ModelUnavailable
from cascade_core.models.latent_encoder import LatentEncoderNetwork

CPU = torch.device("cpu")


@torch.inference_mode()
def test_latents_equal_those_of_the_trained_module() -> None:
    checkpoint = open_checkpoint(ModelSource())
    trained = LatentEncoder.from_pretrained(checkpoint.picture_encoder).eval()
    ours = load_picture_encoder(checkpoint, CPU)
    thumbnails = torch.rand(2, 3, 96, 144, generator=torch.Generator().manual_seed(0))

    assert isinstance(ours, LatentEncoderNetwork)
    latents = ours(thumbnails)

    assert latents.shape == (2, 16, 6, 9)
    assert torch.equal(latents, trained(thumbnails))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"_class_name": "UNet"}, "holds no LatentEncoder"),
        ({"widths": [1, 2]}, "three numbers"),
        ({"widths": [1, 2, "3"]}, "widths must be a whole number"),
        ({"widths": 7}, "cannot be loaded"),
        ({"latent_channels": 8}, r"net\.12\.\w+ is \(16,.*and not \(8,"),
        ({"latent_channels": 0}, "latent_channels must be"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(
    change: dict[str, Any], says: str, tmp_path: Path
) -> None:
    checkpoint = open_checkpoint(ModelSource())
    assert checkpoint.picture_encoder is not None
    folder = shutil.copytree(checkpoint.picture_encoder, tmp_path / "latent_encoder")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))

    with pytest.raises(ModelUnavailable, match=says):
        load_picture_encoder(replace(checkpoint, picture_encoder=folder), CPU)


def test_a_model_without_an_encoder_says_so() -> None:
    checkpoint = replace(open_checkpoint(ModelSource()), picture_encoder=None)
    with pytest.raises(ModelUnavailable, match="demo has no encoder for pictures"):
        load_picture_encoder(checkpoint, CPU)
