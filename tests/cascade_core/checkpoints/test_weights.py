"""Loading weights: the right files, dtype and device; one clear sentence when they are wrong."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from cascade_core.checkpoints import weights as weights_module
from cascade_core.checkpoints.checkpoint import Checkpoint, ModelSource, open_checkpoint
from cascade_core.checkpoints.weights import (
    Placement,
    load_schedule,
    load_text_encoder,
    load_unet,
    load_vqgan_decoder,
    model_ref,
)
from cascade_core.conditioning.tokenizer import ClipTokenizer
from cascade_core.errors import ModelUnavailable, SettingsInvalid
from cascade_core.sampling.step_tables import CosineSchedule
from tests.tiny_model import TinyModel, build_tiny_model, write_combined, write_two

CPU = torch.device("cpu")
ALIGNMENT_BYTES = 64
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def own_folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    folder: Path = shutil.copytree(tiny_folder, tmp_path / "own")
    return folder


def test_loaded_weights_equal_the_saved_ones(
    tiny_checkpoint: Checkpoint, tiny_model: TinyModel
) -> None:
    loaded = {
        "prior": load_unet(tiny_checkpoint, "prior", CPU, torch.float32),
        "decoder": load_unet(tiny_checkpoint, "decoder", CPU, torch.float32),
        "text_encoder": load_text_encoder(tiny_checkpoint, CPU, torch.float32),
    }
    for name, module in loaded.items():
        saved = getattr(tiny_model, name).state_dict()
        assert module.places().keys() == saved.keys()
        assert all(torch.equal(value, saved[key]) for key, value in module.places().items())
        assert not module.training
        assert not any(parameter.requires_grad for parameter in module.parameters())


def test_stage_a_keeps_its_decoder_half_only(
    tiny_checkpoint: Checkpoint, tiny_model: TinyModel
) -> None:
    stage_a = load_vqgan_decoder(tiny_checkpoint, CPU, torch.float32)
    assert {name.partition(".")[0] for name in stage_a.state_dict()} == {"up_blocks", "out_block"}
    saved = tiny_model.vqgan.state_dict()
    assert all(torch.equal(value, saved[key]) for key, value in stage_a.places().items())


def test_weights_have_storage_of_their_own(tiny_checkpoint: Checkpoint) -> None:
    """Mapped files are not aligned, and CPU kernels then round differently."""
    for module in (
        load_unet(tiny_checkpoint, "prior", CPU, torch.float32),
        load_vqgan_decoder(tiny_checkpoint, CPU, torch.float32),
        load_text_encoder(tiny_checkpoint, CPU, torch.float32),
    ):
        for parameter in module.parameters():
            assert parameter.data_ptr() % ALIGNMENT_BYTES == 0
            assert parameter.untyped_storage().nbytes() == parameter.nbytes


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_dtype_is_that_of_all_weights(tiny_checkpoint: Checkpoint, dtype: torch.dtype) -> None:
    for module in (
        load_unet(tiny_checkpoint, "decoder", CPU, dtype),
        load_vqgan_decoder(tiny_checkpoint, CPU, dtype),
        load_text_encoder(tiny_checkpoint, CPU, dtype),
    ):
        assert {parameter.dtype for parameter in module.parameters()} == {dtype}
        assert module.dtype == dtype


def test_stage_c_in_float16_is_refused(tiny_checkpoint: Checkpoint) -> None:
    with pytest.raises(SettingsInvalid, match="Stage C cannot run in float16"):
        load_unet(tiny_checkpoint, "prior", CPU, torch.float16)


def test_two_folders_bf16_files_and_lite_unets_load(tmp_path: Path) -> None:
    full, lite = build_tiny_model(seed=1), build_tiny_model(seed=2, lite=True)
    decoder, prior = write_two(full.to(torch.bfloat16), tmp_path, variant="bf16")
    lite.to(torch.bfloat16)
    lite.prior.save_pretrained(prior / "prior_lite", variant="bf16")
    lite.decoder.save_pretrained(decoder / "decoder_lite", variant="bf16")
    source = ModelSource(str(decoder), variant="bf16")

    for expected, checkpoint in (
        (full, open_checkpoint(source)),
        (lite, open_checkpoint(replace(source, prior_size="lite", decoder_size="lite"))),
    ):
        for name in ("prior", "decoder"):
            loaded = load_unet(checkpoint, name, CPU, torch.float32).places()
            saved = getattr(expected, name).state_dict()
            assert all(torch.equal(loaded[key], saved[key].float()) for key in saved)
        text = load_text_encoder(checkpoint, CPU, torch.float32).places()
        saved_text = full.text_encoder.state_dict()
        assert all(torch.equal(text[key], saved_text[key].float()) for key in saved_text)


def test_weights_in_shards_load(tmp_path: Path) -> None:
    model = build_tiny_model()
    folder = write_combined(model, tmp_path / "sharded")
    (folder / "decoder" / WEIGHTS).unlink()
    model.decoder.save_pretrained(folder / "decoder", max_shard_size="300KB")
    checkpoint = open_checkpoint(ModelSource(str(folder)))
    assert len(checkpoint.weight_files("decoder")) > 1
    loaded = load_unet(checkpoint, "decoder", CPU, torch.float32).places()
    saved = model.decoder.state_dict()
    assert all(torch.equal(loaded[key], saved[key]) for key in saved)


def mapped_bytes(path: Path) -> int:
    """Return how much of a file this process has in memory by mappings."""
    found, is_it = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match("[0-9a-f]+-[0-9a-f]+ ", line):
            is_it = line.endswith(str(path))
        elif is_it and line.startswith("Rss:"):
            found += int(line.split()[1]) * 1024
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_only_a_part_of_a_file_is_mapped_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.safetensors"
    weights = {f"{number:03}": torch.full((2**18,), float(number)) for number in range(128)}
    save_file(weights, path)
    at_most, total = 0, torch.tensor(0.0)
    for name, weight in weights_module._read_weights((path,), ()):
        total += weight.sum()
        if int(name) % 16 == 15:  # a look at the mappings takes long
            at_most = max(at_most, mapped_bytes(path))
    assert float(total) == 2**18 * sum(range(128))
    assert 0 < at_most < path.stat().st_size * 0.6


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def drop_a_tensor(path: Path) -> None:
    state = load_file(path)
    state.pop(sorted(state)[0])
    save_file(state, path)


def add_a_tensor(path: Path) -> None:
    save_file(load_file(path) | {"stranger": torch.zeros(1)}, path)


def widen_a_tensor(path: Path) -> None:
    state = load_file(path)
    name = next(name for name in sorted(state) if name.startswith("clip_txt_pooled_mapper"))
    save_file(state | {name: torch.zeros(3)}, path)


def make_integers(path: Path) -> None:
    state = load_file(path)
    name = min(state)
    save_file(state | {name: state[name].to(torch.int8)}, path)


@pytest.mark.parametrize(
    ("spoil", "pattern"),
    [
        (truncate, "decoder cannot be loaded"),
        (drop_a_tensor, "weights in .*decoder lack "),
        (add_a_tensor, "weights in .*decoder have unknown stranger"),
        (widen_a_tensor, "decoder cannot be loaded: clip_txt_pooled_mapper"),
        (make_integers, r"decoder cannot be loaded: .* holds torch\.int8"),
    ],
)
def test_wrong_weights_are_named_in_one_sentence(
    spoil: Callable[[Path], None], pattern: str, own_folder: Path
) -> None:
    spoil(own_folder / "decoder" / WEIGHTS)
    checkpoint = open_checkpoint(ModelSource(str(own_folder)))
    with pytest.raises(ModelUnavailable, match=pattern) as caught:
        load_unet(checkpoint, "decoder", CPU, torch.float32)
    assert "\n" not in caught.value.message


class CountedOpenings:
    """Opens safetensors files; counts openings and the names of what is read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.openings = 0
        self.read: list[str] = []
        self._open = weights_module.safe_open
        monkeypatch.setattr(weights_module, "safe_open", self)

    def __call__(self, path: Path, framework: str) -> Any:
        self.openings += 1
        self._file = self._open(path, framework=framework)
        return self

    def __enter__(self) -> CountedOpenings:
        self._file.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.__exit__(*error)

    def keys(self) -> list[str]:
        names: list[str] = self._file.keys()
        return names

    def get_tensor(self, name: str) -> torch.Tensor:
        self.read.append(name)
        tensor: torch.Tensor = self._file.get_tensor(name)
        return tensor


def test_unknown_weights_are_refused_before_any_is_read(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = own_folder / "decoder" / WEIGHTS
    strangers = {f"stranger.{number:06}": torch.zeros(1) for number in range(10_000)}
    save_file(load_file(path) | strangers, path)
    counted = CountedOpenings(monkeypatch)
    pattern = r"decoder have unknown stranger\.000000 \(10000 such\)"
    with pytest.raises(ModelUnavailable, match=pattern):
        load_unet(open_checkpoint(ModelSource(str(own_folder))), "decoder", CPU, torch.float32)
    assert (counted.openings, counted.read) == (1, [])


def test_weights_that_are_not_needed_are_not_read(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = own_folder / "vqgan" / WEIGHTS
    others = {f"vquantizer.{number}": torch.zeros(1) for number in range(10_000)}
    save_file(load_file(path) | others, path)
    counted = CountedOpenings(monkeypatch)
    stage_a = load_vqgan_decoder(open_checkpoint(ModelSource(str(own_folder))), CPU, torch.float32)
    assert sorted(counted.read) == sorted(stage_a.places())
    assert counted.openings < 10


@pytest.mark.parametrize(
    ("component", "wrong"),
    [
        ("prior_prior", {"switch_level": []}),
        ("prior_prior", {"self_attn": []}),
        ("prior_prior", {"block_out_channels": {}}),
        ("prior_prior", {"block_out_channels": [64, None]}),
        ("prior_prior", {"kernel_size": 10**30}),
        ("vqgan", {"levels": 0}),
        ("vqgan", {"levels": 1e999}),
        ("vqgan", {"embed_dim": "x"}),
        ("text_encoder", {"hidden_size": []}),
        ("text_encoder", {"num_attention_heads": []}),
        ("text_encoder", {"hidden_act": {}}),
    ],
)
def test_a_configuration_that_no_network_has_is_one_sentence(
    component: str, wrong: dict[str, Any], own_folder: Path
) -> None:
    checkpoint = open_checkpoint(ModelSource(str(own_folder)))
    path = own_folder / component / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | wrong))
    load: dict[str, Callable[[], Any]] = {
        "prior_prior": lambda: load_unet(checkpoint, "prior", CPU, torch.float32),
        "vqgan": lambda: load_vqgan_decoder(checkpoint, CPU, torch.float32),
        "text_encoder": lambda: load_text_encoder(checkpoint, CPU, torch.float32),
    }
    with pytest.raises(ModelUnavailable, match=f"{component} cannot be loaded: .") as caught:
        load[component]()
    assert "\n" not in caught.value.message


def test_a_folder_with_another_model_is_refused(own_folder: Path) -> None:
    shutil.rmtree(own_folder / "decoder")
    shutil.copytree(own_folder / "vqgan", own_folder / "decoder")
    checkpoint = open_checkpoint(ModelSource(str(own_folder)))
    with pytest.raises(ModelUnavailable, match="decoder holds no StableCascadeUNet"):
        load_unet(checkpoint, "decoder", CPU, torch.float32)


def test_broken_text_parts_are_refused(own_folder: Path) -> None:
    checkpoint = open_checkpoint(ModelSource(str(own_folder)))
    truncate(own_folder / "text_encoder" / "model.safetensors")
    (own_folder / "tokenizer" / "tokenizer.json").write_text("{")
    with pytest.raises(ModelUnavailable, match="text_encoder cannot be loaded"):
        load_text_encoder(checkpoint, CPU, torch.float32)
    with pytest.raises(ModelUnavailable, match=r"tokenizer\.json is not valid JSON"):
        ClipTokenizer.load(own_folder / "tokenizer")


def test_text_weights_that_lack_a_tensor_are_refused(own_folder: Path) -> None:
    drop_a_tensor(own_folder / "text_encoder" / "model.safetensors")
    checkpoint = open_checkpoint(ModelSource(str(own_folder)))
    with pytest.raises(ModelUnavailable, match=r"weights in .*text_encoder lack "):
        load_text_encoder(checkpoint, CPU, torch.float32)


def test_the_schedule_comes_from_its_configuration(own_folder: Path) -> None:
    path = own_folder / "scheduler" / "scheduler_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"s": 0.01, "scaler": 2.0}))
    checkpoint = open_checkpoint(ModelSource(str(own_folder)))
    assert load_schedule(checkpoint, "prior_scheduler") == CosineSchedule(0.01, 2.0)
    path.write_text(json.dumps({"_class_name": "EulerDiscreteScheduler"}))
    with pytest.raises(ModelUnavailable, match="must be a DDPMWuerstchenScheduler"):
        load_schedule(checkpoint, "decoder_scheduler")
    for wrong in ({"s": "abc"}, {"s": None}, {"s": 1e999}, {"scaler": 10**400}, {"scaler": 0}):
        path.write_text(json.dumps(config | wrong))
        with pytest.raises(ModelUnavailable, match=r"scheduler_config\.json cannot be loaded"):
            load_schedule(checkpoint, "prior_scheduler")
    shutil.rmtree(own_folder / "scheduler")
    bare = open_checkpoint(ModelSource(str(own_folder)))
    assert load_schedule(bare, "prior_scheduler") == CosineSchedule()


def test_automatic_placement_follows_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Placement().resolve() == (CPU, torch.float32)
    assert Placement(dtype="bfloat16").resolve() == (CPU, torch.bfloat16)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert Placement().resolve() == (torch.device("cuda"), torch.bfloat16)
    assert Placement("cuda:1", "float32").resolve() == (torch.device("cuda:1"), torch.float32)


@pytest.mark.parametrize(
    ("device", "dtype", "pattern"),
    [
        ("gpu", "auto", "device must be auto, cpu or cuda"),
        ("cpu", "int8", "dtype must be one of auto, float32, bfloat16, float16"),
        ("cuda", "auto", "torch sees no GPU"),
    ],
)
def test_impossible_placements_are_refused(
    device: str, dtype: Any, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingsInvalid, match=pattern):
        Placement(device, dtype).resolve()


def test_a_model_ref_carries_the_checkpoints_identity(tiny_checkpoint: Checkpoint) -> None:
    ref = model_ref(tiny_checkpoint)
    assert (ref.id, ref.revision) == (tiny_checkpoint.id, tiny_checkpoint.revision)
    assert ref.fingerprint == tiny_checkpoint.fingerprint


@pytest.mark.parametrize(
    ("stages", "absent_folders", "absent_modules"),
    [
        ("c", ("decoder", "vqgan"), ("diffusers", "transformers")),
        ("ba", ("prior_prior", "text_encoder", "tokenizer"), ("diffusers", "transformers")),
    ],
)
def test_a_stages_process_loads_its_own_parts_only(
    stages: str, absent_folders: tuple[str, ...], absent_modules: tuple[str, ...], own_folder: Path
) -> None:
    """The other parts' weights are gone, what they need is never imported, the network shut."""
    for name in absent_folders:
        for weights in (own_folder / name).glob("*.safetensors"):
            weights.unlink()
    code = f"""
import socket, sys
def refuse(*_):
    raise OSError("no network")
socket.socket.connect = socket.getaddrinfo = refuse
from cascade_core.checkpoints.checkpoint import ModelSource, open_checkpoint
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.checkpoints.weights import Placement
for name in {stages!r}:
    stage = STABLE_CASCADE.stage(name).model_class()
    components = STABLE_CASCADE.stage(name).components
    checkpoint = open_checkpoint(ModelSource({str(own_folder)!r}), components)
    stage.load(checkpoint, Placement("cpu")).warm_up()
loaded = sys.modules.keys() & set({absent_modules!r})
sys.exit(f"loaded {{loaded}}" if loaded else 0)
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
