from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.errors import ModelUnavailable
from cascade_core.geometry import Geometry
from cascade_core.handoff import ModelRef, StageCLatent
from cascade_core.request import GenerationRequest
from cascade_core.stages.previews import (
    LinearPreviewer,
    PublishedPreviewer,
    fit_linear,
    fit_previewer,
    load_previewer,
    load_stage_b_previewer,
    preview_of,
)
from cascade_core.stages.tensors import to_handoff, to_preview

CPU = torch.device("cpu")


def test_no_file_means_no_previewer() -> None:
    assert load_previewer(None, 16, CPU) is None


def test_a_linear_map_paints_every_cell(tmp_path: Path) -> None:
    weight = np.zeros((3, 16))
    weight[0, 3], weight[2, 5] = 1.0, -1.0
    path = tmp_path / "preview.json"
    path.write_text(
        json.dumps({"stage_c_to_rgb": {"weight": weight.tolist(), "bias": [0.0, 0.5, 1.0]}})
    )
    previewer = load_previewer(path, 16, CPU)
    assert isinstance(previewer, LinearPreviewer)
    latents = torch.zeros(1, 16, 6, 9)
    latents[0, 3, :, 5:], latents[0, 5, :3] = 1.0, 1.0
    picture = to_preview(previewer(latents), 256, 384)
    assert picture.dtype == np.uint8
    assert picture.shape == (128, 192, 3)
    assert picture[0, 0].tolist() == [0, 128, 0]
    assert picture[-1, -1].tolist() == [255, 128, 255]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_stored_latent_is_drawn_like_the_tensor_it_was(dtype: torch.dtype) -> None:
    geometry = Geometry()
    latents = torch.randn(1, 16, *geometry.stage_c_hw(256, 384)).to(dtype)
    pooled = to_handoff(torch.zeros(1, 8))
    stored = StageCLatent(
        latents_chw=to_handoff(latents[0]),
        pooled=pooled,
        negative_pooled=pooled,
        geometry=geometry,
        model=ModelRef("demo", "r1", "f1"),
        request=GenerationRequest(prompt="", width=384, height=256, seed=0, decoder_seed=0),
    )
    previewer = LinearPreviewer(torch.randn(3, 16), torch.zeros(3))
    drawn = to_preview(previewer(latents.float()), 256, 384)
    np.testing.assert_array_equal(preview_of(stored, previewer, CPU), drawn)


def test_wild_values_become_colours() -> None:
    previewer = LinearPreviewer(torch.full((3, 16), 1e6), torch.zeros(3))
    latents = torch.full((1, 16, 6, 6), float("nan"))
    latents[..., 3:] = 1e30
    picture = to_preview(previewer(latents), 256, 256)
    assert (picture[:, 0].tolist(), picture[:, -1].tolist()) == ([[0] * 3] * 192, [[255] * 3] * 192)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"stage_c_to_rgb": {"weight": [[1.0]], "bias": [0, 0, 0]}},
        {"stage_c_to_rgb": {"weight": [[1.0]] * 3}},
        {"stage_c_to_rgb": {"weight": "x", "bias": [0, 0, 0]}},
        {"stage_c_to_rgb": {"weight": [[0.0] * 4] * 3, "bias": [0, 0, 0]}},
        {"stage_c_to_rgb": {"weight": [[0.0] * 16] * 3, "bias": [0, 0, 10**400]}},
        {"stage_c_to_rgb": {"weight": [[10**400] * 16] * 3, "bias": [0, 0, 0]}},
        {"stage_c_to_rgb": {"weight": [[{}] * 16] * 3, "bias": [0, 0, 0]}},
        {"stage_c_to_rgb": []},
    ],
)
def test_a_broken_map_is_refused(body: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "preview.json"
    path.write_text(json.dumps(body))
    with pytest.raises(ModelUnavailable, match=r"preview\.json"):
        load_previewer(path, 16, CPU)


def test_a_fitted_map_recovers_the_mean_colours_that_the_cells_hold() -> None:
    pictures = torch.rand(5, 3, 24, 40)
    means = torch.nn.functional.avg_pool2d(pictures, 8)
    latents = torch.cat([torch.randn(5, 1, 3, 5), 2 * means - 1], 1)
    weight, bias = fit_linear(latents, pictures)
    expected = torch.cat([torch.zeros(3, 1), 0.5 * torch.eye(3)], 1)
    torch.testing.assert_close(weight, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(bias, torch.full((3,), 0.5), atol=1e-5, rtol=0)


class LinearStageA:
    """Decodes each cell to 4x4 equal pixels, by a linear map."""

    config = SimpleNamespace(latent_channels=4)
    device, dtype = CPU, torch.float32

    def __init__(self) -> None:
        self.weight = torch.tensor([[0.04, 0, 0, 0], [0, 0.06, 0, 0], [0, 0, 0.02, -0.04]])

    def __call__(self, latents_bchw: torch.Tensor) -> torch.Tensor:
        rgb = torch.einsum("rc,bchw->brhw", self.weight, latents_bchw) + 0.5
        return rgb.repeat_interleave(4, 2).repeat_interleave(4, 3)


def test_the_map_fitted_to_stage_a_draws_what_stage_a_draws() -> None:
    stage_a, latents = LinearStageA(), torch.randn(1, 4, 9, 7)
    drawn = fit_previewer(stage_a)(latents)
    decoded = stage_a(latents)[0, :, ::4, ::4]
    torch.testing.assert_close(drawn, decoded, atol=1e-4, rtol=0)


def test_equal_weights_give_an_equal_map(tiny_checkpoint: Checkpoint) -> None:
    latents = torch.randn(1, 4, 9, 7)
    first, again = (
        load_stage_b_previewer(tiny_checkpoint, 4, CPU, torch.float32)(latents) for _ in range(2)
    )
    assert torch.equal(first, again)


def test_a_map_in_the_models_folder_is_used_without_stage_a(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    path = tmp_path / "preview.json"
    path.write_text(json.dumps({"stage_b_to_rgb": {"weight": [[1, 0]] * 3, "bias": [0, 0, 1]}}))
    bare = replace(tiny_checkpoint, previewer=path, components={})
    previewer = load_stage_b_previewer(bare, 2, CPU, torch.float32)
    assert previewer(torch.ones(1, 2, 1, 1)).flatten().tolist() == [1, 1, 2]
    path.write_text(json.dumps({"stage_b_to_rgb": {"weight": [[1, 0]] * 3}}))
    with pytest.raises(ModelUnavailable, match="stage_b_to_rgb"):
        load_stage_b_previewer(bare, 2, CPU, torch.float32)


def test_a_map_beside_the_published_previewer_is_used_too(
    tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    body = {"stage_b_to_rgb": {"weight": [[1, 0]] * 3, "bias": [0, 0, 1]}}
    (tmp_path / "preview.json").write_text(json.dumps(body))
    path = tmp_path / "previewer.safetensors"
    bare = replace(tiny_checkpoint, previewer=path, components={})
    previewer = load_stage_b_previewer(bare, 2, CPU, torch.float32)
    assert previewer(torch.ones(1, 2, 1, 1)).flatten().tolist() == [1, 1, 2]
    with pytest.raises(ModelUnavailable, match="3 rows of 4 numbers, one for each channel"):
        load_stage_b_previewer(bare, 4, CPU, torch.float32)


def published_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the published file, from cascade.md 3.3 and its 3,979,651 parameters."""
    weights = {
        0: (512, 16, 1, 1),
        3: (512, 512, 3, 3),
        6: (512, 256, 2, 2),
        9: (256, 256, 3, 3),
        12: (256, 128, 2, 2),
        15: (128, 128, 3, 3),
        18: (128, 128, 2, 2),
        21: (128, 128, 3, 3),
        24: (3, 128, 1, 1),
    }
    widths = {0: 512, 3: 512, 6: 256, 9: 256, 12: 128, 15: 128, 18: 128, 21: 128, 24: 3}
    shapes: dict[str, tuple[int, ...]] = {}
    for index, shape in weights.items():
        shapes |= {f"blocks.{index}.weight": shape, f"blocks.{index}.bias": (widths[index],)}
        if index < 24:
            for name in ("weight", "bias", "running_mean", "running_var"):
                shapes[f"blocks.{index + 2}.{name}"] = (widths[index],)
            shapes[f"blocks.{index + 2}.num_batches_tracked"] = ()
    return shapes


def test_the_published_architecture_loads_and_draws_eight_pixels_per_cell(tmp_path: Path) -> None:
    state = {name: torch.rand(shape) for name, shape in published_shapes().items()}
    path = tmp_path / "previewer.safetensors"
    save_file(state, path)
    previewer = load_previewer(path, 16, CPU)
    assert isinstance(previewer, PublishedPreviewer)
    assert sum(parameter.numel() for parameter in previewer.parameters()) == 3_979_651
    first = previewer(torch.randn(1, 16, 6, 9))
    assert (first.shape, first.dtype) == ((3, 48, 72), torch.float32)
    assert not previewer.training


def test_other_weights_are_no_previewer(tmp_path: Path) -> None:
    path = tmp_path / "previewer.safetensors"
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ModelUnavailable, match="no Stable Cascade previewer"):
        load_previewer(path, 16, CPU)
    path.write_bytes(b"junk")
    with pytest.raises(ModelUnavailable, match="no Stable Cascade previewer"):
        load_previewer(path, 16, CPU)
