"""Blocks that torch compiles: the same answers, few versions, and a compiler that is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from cascade_core.errors import SettingsInvalid
from cascade_core.models.compiled import check_compiler, compile_blocks
from cascade_core.models.unet import CascadeUnet
from cascade_core.models.unet_config import UnetConfig

RES, TIME, ATTENTION = "SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock"
CONFIG = UnetConfig(
    in_channels=4,
    out_channels=4,
    timestep_ratio_embedding_dim=16,
    conditioning_dim=24,
    block_out_channels=[16, 32],
    num_attention_heads=[0, 4],
    down_num_layers_per_block=[1, 3],
    up_num_layers_per_block=[3, 1],
    block_types_per_layer=[[RES], [RES, TIME, ATTENTION]],
    clip_text_pooled_in_channels=20,
)
BLOCKS = 20


@pytest.fixture
def versions() -> Iterator[list[Any]]:
    """The graphs that torch has handed over to be compiled; see :func:`keep`."""
    torch._dynamo.reset()
    yield []
    torch._dynamo.reset()


def keep(versions: list[Any]) -> Callable[..., Any]:
    """Return a backend that compiles nothing and notes what it was given."""

    def backend(graph: Any, _inputs: Any) -> Any:
        versions.append(graph)
        return graph.forward

    return backend


def make_unet() -> CascadeUnet:
    torch.manual_seed(3)
    unet = CascadeUnet(CONFIG).eval().requires_grad_(False)
    for name, parameter in unet.named_parameters():
        if name.endswith(("gamma", "beta")):
            parameter.normal_(0, 0.3)
    return unet


@torch.inference_mode()
def step(unet: CascadeUnet, hw: tuple[int, int], rows: int) -> torch.Tensor:
    """Return the prediction of one step of rows that differ."""
    generator = torch.Generator().manual_seed(rows)
    latents = torch.randn(rows, 4, *hw, generator=generator)
    pooled = torch.randn(rows, 1, 20, generator=generator)
    table = unet.time_table(torch.linspace(0.1, 0.9, rows))
    held = [unet.hold(hw, pooled=pooled[row : row + 1]) for row in range(rows)]
    predicted: torch.Tensor = unet(latents, table, held)
    return predicted


def test_compiled_blocks_answer_as_others_and_share_their_code_in_all_sizes(
    versions: list[Any],
) -> None:
    later = [(hw, rows) for hw in [(8, 8), (12, 8), (16, 32)] for rows in (1, 5)]
    plain, compiled = make_unet(), make_unet()
    compile_blocks(compiled, keep(versions))
    for rows in (2, 1):
        assert torch.equal(step(compiled, (12, 18), rows), step(plain, (12, 18), rows))
    compiled_at_first = len(versions)
    assert compiled_at_first < BLOCKS
    for hw, rows in later:
        assert torch.equal(step(compiled, hw, rows), step(plain, hw, rows))
    assert len(versions) == compiled_at_first


@pytest.mark.parametrize(
    ("device_type", "variable", "missing"),
    [("cpu", "CXX", r"C\+\+ compiler \(g\+\+\)"), ("cuda", "CC", r"C compiler \(gcc or clang\)")],
)
def test_a_missing_compiler_is_said_in_one_sentence(
    device_type: str,
    variable: str,
    missing: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(SettingsInvalid, match=missing) as caught:
        check_compiler(device_type)
    assert "\n" not in caught.value.message
    own = tmp_path / "own-compiler"
    own.touch(mode=0o700)
    monkeypatch.setenv(variable, str(own))
    check_compiler(device_type)
