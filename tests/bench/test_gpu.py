"""The benchmark of a GPU runs dry on a CPU, in parts, and says what failed."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.gpu.__main__ import main
from bench.gpu.parts import PARTS
from bench.gpu.results import Results
from bench.gpu.table import table
from bench.gpu.timing import Clock
from bench.gpu.variants import RandomModel, make_variant, with_new_prompt
from bench.published import SCALES
from bench.stats import summary
from cascade_core.request import GenerationRequest
from cascade_core.stages.base import Preparation
from cascade_core.stages.unet_steps import UnetSteps

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
SIDE_PX = 256
BARE_MACHINE = {"torch", "transformers", "diffusers", "PIL", "msgpack"}
BROUGHT_BY_THESE = {"numpy", "safetensors", "tokenizers", "huggingface_hub"}


def test_a_dry_run_measures_every_part_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    main(["--device", "cpu", "--scale", "tiny", "--folder", str(tmp_path)])
    parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    failed = [row["failed"] for rows in parts.values() for row in rows.values() if "failed" in row]
    assert failed == []
    assert parts.keys() == PARTS.keys()
    assert parts["pictures"].keys() == {"stock", "ours"}
    shown = (tmp_path / "gpu.md").read_text()
    assert "| ours-compiled | not measured |" in shown
    assert "Not measured yet" not in shown


def test_a_run_adds_to_what_was_measured_on_this_card_with_this_model(tmp_path: Path) -> None:
    def measured(scale: str) -> Results:
        return Results(scale, torch.bfloat16, tmp_path)

    rows = {"stock": {"pictures_per_s": summary([1.0])}}
    measured("full").attempt("saturation", "stock", lambda: rows["stock"])
    assert measured("full").all["parts"] == {"saturation": rows}
    assert measured("lite").all["parts"] == {}


def test_what_fails_is_said_and_the_rest_is_shown() -> None:
    def fail() -> dict[str, Any]:
        raise RuntimeError("CUDA error: out of | luck\nmore")

    results = Results("full", torch.bfloat16, None)
    what = {"stage": "Stage C", "side_px": 512, "count": 1}
    assert results.attempt("rows", "C", fail, what) is None
    results.attempt_all("saturation", "all", fail)
    assert results.attempt("pictures", "ours", fail) is None
    shown = table(results.all)
    assert "| Stage C, 512 px | failed: RuntimeError: CUDA error: out of / luck |" in shown
    assert "| all | failed: RuntimeError: CUDA error: out of / luck |" in shown
    assert "| ours | failed: RuntimeError" in shown
    assert "Not measured yet: what the card can do, mixed sizes and steps at random." in shown


def test_compiling_variants_compile_whole_the_unets_that_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled = []

    def compile_nothing(module: Any, **options: Any) -> Any:
        compiled.append((module, options))
        return module

    monkeypatch.setattr(torch, "compile", compile_nothing)
    model = RandomModel.make(SCALES["tiny"], CPU, torch.float32)
    make_variant("stock", model, Clock(CPU), SIDE_PX)
    make_variant("stock-graphs", model, Clock(CPU), SIDE_PX, ["decoder"])
    assert compiled == [(model.stock["decoder"], {"fullgraph": True, "mode": "reduce-overhead"})]


def test_our_variants_prepare_stages_as_the_service_does_around_the_same_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepared: dict[str, Preparation] = {}

    def prepare(steps: UnetSteps, how: Preparation) -> None:
        prepared["c" if steps._unet.config.in_channels == 16 else "b"] = how

    monkeypatch.setattr(UnetSteps, "prepare", prepare)
    model = RandomModel.make(SCALES["tiny"], CPU, torch.float32)
    plain: Any = make_variant("ours", model, Clock(CPU), SIDE_PX)
    assert prepared == {}
    compiled: Any = make_variant("ours-compiled", model, Clock(CPU), SIDE_PX, ["decoder"])
    assert prepared == {"b": Preparation(compiles=True)}
    make_variant("ours-graphs", model, Clock(CPU), SIDE_PX)
    assert prepared["c"] == prepared["b"]
    assert prepared["c"].sizes == ((SIDE_PX, SIDE_PX),)
    one, other = (variant.pipeline.stages["b"]._unet for variant in (plain, compiled))
    assert one is not other
    for weight, same in zip(one.parameters(), other.parameters(), strict=True):
        assert weight is same


def test_a_variant_that_this_device_cannot_run_is_said_so(tmp_path: Path) -> None:
    folder = str(tmp_path)
    given = ["--device", "cpu", "--scale", "tiny", "--folder", folder, "--parts", "pictures"]
    main([*given, "--variants", "ours-graphs", "ours"])
    rows = json.loads((tmp_path / "gpu.json").read_text())["parts"]["pictures"]
    assert "CUDA graphs need a GPU" in rows["ours-graphs"]["failed"]
    assert "total_s" in rows["ours"]


def test_our_networks_predict_what_diffusers_predict_from_the_same_weights() -> None:
    model = RandomModel.make(SCALES["tiny"], CPU, torch.float32)
    latents = torch.randn(1, 4, 8, 8)
    stock = model.stock["vqgan"]
    expected = stock.decode(stock.config.scale_factor * latents).sample
    assert torch.allclose(model.ours["vqgan"](latents), expected, atol=1e-5)
    stock, ours = model.stock["decoder"], model.ours["decoder"]
    noise, pooled, effnet = (
        torch.randn(1, 4, 32, 32),
        torch.randn(1, 1, 40),
        torch.randn(1, 16, 3, 3),
    )
    times = torch.tensor([0.5])
    expected = stock(noise, times, pooled, effnet=effnet).sample
    held = ours.hold((32, 32), pooled=pooled, effnet=effnet)
    assert torch.allclose(ours(noise, ours.time_table(times), [held]), expected, atol=1e-5)


def test_every_picture_has_a_prompt_that_no_cache_has_seen() -> None:
    request = GenerationRequest(prompt="a fox", width=256, height=256, seed=1, decoder_seed=1)
    prompts = {with_new_prompt(request).prompt for _ in range(3)}
    assert len(prompts) == 3
    assert all(prompt.endswith("a fox") for prompt in prompts)


def test_without_a_gpu_the_command_names_the_dry_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        main([])
    assert "--device cpu --scale tiny" in capsys.readouterr().err


def test_it_imports_nothing_that_a_bare_machine_lacks() -> None:
    seen: set[str] = set()
    packages = set(third_party("bench.gpu.__main__", seen))
    assert "cascade_core.stages.stage_c" in seen
    assert packages <= BARE_MACHINE | BROUGHT_BY_THESE


def third_party(module: str, seen: set[str]) -> Iterator[str]:
    """Yield the packages that a module of this repository imports, and those that it imports."""
    path = ROOT / module.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if module in seen or not path.exists():
        return
    seen.add(module)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            top = name.partition(".")[0]
            if top in ("bench", "cascade_core", "tests", "serve"):
                yield from third_party(name, seen)
            elif top not in sys.stdlib_module_names:
                yield top
