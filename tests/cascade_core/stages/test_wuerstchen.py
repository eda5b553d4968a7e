"""Würstchen's stages: what they hand over, what they refuse, and their life in the engine."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMWuerstchenScheduler

from cascade_core.checkpoints.checkpoint import Checkpoint, ModelSource, open_checkpoint
from cascade_core.checkpoints.weights import Placement
from cascade_core.engine.engine import StepEngine
from cascade_core.engine.events import Event, Finished, Stepped, TaskHandle
from cascade_core.errors import (
    HandoffInvalid,
    ModelMismatch,
    ModelUnavailable,
    NonFiniteLatent,
    Unsupported,
)
from cascade_core.families.wuerstchen import WUERSTCHEN
from cascade_core.handoff import StageBLatent, WuerstchenLatent
from cascade_core.pipeline import CascadePipeline
from cascade_core.request import GenerationRequest
from cascade_core.stages.base import Preparation
from cascade_core.stages.tensors import from_handoff, to_handoff
from cascade_core.stages.wuerstchen_b import WuerstchenB, WuerstchenBTask
from cascade_core.stages.wuerstchen_c import Scaling, WuerstchenC, WuerstchenCTask
from tests.cascade_core.test_parity_batches import run_alone
from tests.cascade_core.toy_stage import Listener
from tests.limits import HANG_S
from tests.tiny_wuerstchen import TinyWuerstchen, write_combined

REQUEST = GenerationRequest(
    prompt="a red ring",
    width=384,
    height=256,
    seed=1,
    decoder_seed=2,
    steps=4,
    decoder_steps=3,
    guidance_scale=3.0,
)
VARY = replace(REQUEST, kind="vary", latent_id="x", strength=0.7, seed=5, decoder_seed=6)
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def latent(wuerstchen_pipeline: CascadePipeline) -> WuerstchenLatent:
    result: WuerstchenLatent = run_alone(wuerstchen_pipeline.stages["c"], WuerstchenCTask(REQUEST))
    return result


@pytest.fixture
def own_checkpoint(wuerstchen_checkpoint: Checkpoint, tmp_path: Path) -> Checkpoint:
    """A copy that a test may break."""
    root = wuerstchen_checkpoint.component("decoder").parents[1]
    folder: Path = shutil.copytree(root, tmp_path / "own")
    return open_checkpoint(ModelSource(str(folder / "wuerstchen")))


@contextmanager
def broken(parameter: torch.nn.Parameter) -> Iterator[None]:
    """Put NaN into a weight of a shared model, and take it out again."""
    before = parameter.data.clone()
    parameter.data.fill_(float("nan"))
    try:
        yield
    finally:
        parameter.data.copy_(before)


def test_a_composition_carries_its_request_and_how_it_is_scaled(
    latent: WuerstchenLatent, wuerstchen_checkpoint: Checkpoint
) -> None:
    assert latent.latents_chw.shape == (16, 6, 9)
    assert (latent.factor, latent.offset) == (42.0, 1.0)
    assert latent.request == REQUEST
    assert latent.model.fingerprint == wuerstchen_checkpoint.fingerprint


def test_details_are_drawn_from_a_composition_that_travelled_as_bytes(
    wuerstchen_pipeline: CascadePipeline, latent: WuerstchenLatent
) -> None:
    stage = wuerstchen_pipeline.stages["b"]
    expected = run_alone(stage, WuerstchenBTask(latent, REQUEST))
    travelled = WuerstchenLatent.decode(latent.encode())
    again = run_alone(stage, WuerstchenBTask(travelled, REQUEST))
    assert np.array_equal(again.latents_chw.array, expected.latents_chw.array)
    assert again.latents_chw.shape == (4, 64, 96)
    pixels = run_alone(wuerstchen_pipeline.stages["a"], StageBLatent.decode(again.encode()))
    assert (pixels.shape, pixels.dtype) == ((256, 384, 3), np.uint8)


@pytest.mark.parametrize(
    "change", [{"seed": 3}, {"decoder_seed": 3}, {"prompt": "dogs"}, {"negative_prompt": "dogs"}]
)
def test_what_the_request_says_changes_the_picture(
    change: dict[str, Any], wuerstchen_pipeline: CascadePipeline
) -> None:
    one = wuerstchen_pipeline.run(REQUEST)
    other = wuerstchen_pipeline.run(replace(REQUEST, **change))
    assert not np.array_equal(one.pixels_hwc, other.pixels_hwc)
    same_composition = np.array_equal(one.latent.latents_chw.array, other.latent.latents_chw.array)
    assert same_composition == ("decoder_seed" in change)


def test_new_details_follow_the_texts_of_the_composition(
    wuerstchen_pipeline: CascadePipeline, latent: WuerstchenLatent
) -> None:
    details = replace(REQUEST, kind="vary_details", latent_id="x", decoder_seed=9)
    picture = wuerstchen_pipeline.run(details, latent).pixels_hwc
    reworded = replace(latent, request=replace(REQUEST, prompt="a blue star"))
    other = wuerstchen_pipeline.run(details, reworded).pixels_hwc
    assert not np.array_equal(picture, other)


def test_a_stored_composition_gets_the_noise_of_the_schedule(
    wuerstchen_pipeline: CascadePipeline, latent: WuerstchenLatent
) -> None:
    row = wuerstchen_pipeline.stages["c"].admit(WuerstchenCTask(VARY, latent))
    clean = from_handoff(latent.latents_chw, torch.device("cpu"), torch.float32)[None]
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(VARY.seed))
    noised = DDPMWuerstchenScheduler().add_noise(clean, noise, torch.tensor([0.7]))
    assert torch.equal(row.latents_bchw, noised)
    assert row.steps == 3


def test_strength_decides_how_much_of_a_composition_stays(
    wuerstchen_pipeline: CascadePipeline, latent: WuerstchenLatent
) -> None:
    stage = wuerstchen_pipeline.stages["c"]
    none, full = (
        run_alone(stage, WuerstchenCTask(replace(VARY, strength=one), latent)) for one in (0.0, 1.0)
    )
    new = run_alone(stage, WuerstchenCTask(replace(REQUEST, seed=VARY.seed)))
    assert np.array_equal(none.latents_chw.array, latent.latents_chw.array)
    assert np.array_equal(full.latents_chw.array, new.latents_chw.array)


def test_latents_of_other_weights_are_refused(
    wuerstchen_pipeline: CascadePipeline, latent: WuerstchenLatent
) -> None:
    other = replace(latent, model=replace(latent.model, id="other", fingerprint="0"))
    with pytest.raises(ModelMismatch, match=r"made by other .*, the loaded model is wuerstchen"):
        wuerstchen_pipeline.stages["b"].admit(WuerstchenBTask(other, REQUEST))
    with pytest.raises(ModelMismatch, match="made by other"):
        wuerstchen_pipeline.stages["c"].admit(WuerstchenCTask(VARY, other))


def test_another_size_or_other_channels_are_refused(
    wuerstchen_pipeline: CascadePipeline, latent: WuerstchenLatent
) -> None:
    stages = wuerstchen_pipeline.stages
    for size in ({"width": 256}, {"width": 768, "height": 512}):
        with pytest.raises(HandoffInvalid, match="the latent is for 384x256 px"):
            stages["b"].admit(WuerstchenBTask(latent, replace(REQUEST, **size)))
        with pytest.raises(HandoffInvalid, match="the latent is for 384x256 px"):
            stages["c"].admit(WuerstchenCTask(replace(VARY, **size), latent))
    thin = replace(latent, latents_chw=to_handoff(torch.zeros(8, 6, 9)))
    with pytest.raises(HandoffInvalid, match="8 channels"):
        stages["b"].admit(WuerstchenBTask(thin, REQUEST))


@pytest.mark.parametrize(("request_", "has_latent"), [(VARY, False), (REQUEST, True)])
def test_a_latent_comes_with_requests_that_depart_from_one_and_with_no_others(
    request_: GenerationRequest,
    has_latent: bool,
    wuerstchen_pipeline: CascadePipeline,
    latent: WuerstchenLatent,
) -> None:
    with pytest.raises(Unsupported):
        wuerstchen_pipeline.stages["c"].admit(
            WuerstchenCTask(request_, latent if has_latent else None)
        )


def test_nan_is_an_error_and_never_a_picture(
    wuerstchen_pipeline: CascadePipeline, latent: WuerstchenLatent
) -> None:
    stages = wuerstchen_pipeline.stages
    prior, decoder = (stages[name]._network.module for name in ("c", "b"))
    with broken(prior.out[1].bias), pytest.raises(NonFiniteLatent, match="Stage C"):
        run_alone(stages["c"], WuerstchenCTask(REQUEST))
    with broken(decoder.clf[1].bias), pytest.raises(NonFiniteLatent, match="Stage B"):
        run_alone(stages["b"], WuerstchenBTask(latent, REQUEST))


def test_details_have_previews_and_compositions_have_none(
    wuerstchen_pipeline: CascadePipeline, latent: WuerstchenLatent
) -> None:
    c_row = wuerstchen_pipeline.stages["c"].admit(WuerstchenCTask(REQUEST))
    wuerstchen_pipeline.stages["c"].advance([c_row])
    assert wuerstchen_pipeline.stages["c"].preview(c_row) is None
    b_row = wuerstchen_pipeline.stages["b"].admit(WuerstchenBTask(latent, REQUEST))
    assert wuerstchen_pipeline.stages["b"].preview(b_row) is None
    wuerstchen_pipeline.stages["b"].advance([b_row])
    preview = wuerstchen_pipeline.stages["b"].preview(b_row)
    assert preview is not None
    assert preview.shape == (128, 192, 3)


def test_a_map_to_colours_in_the_folder_draws_compositions(
    own_checkpoint: Checkpoint, latent: WuerstchenLatent
) -> None:
    path = own_checkpoint.component("decoder").parent / "preview.json"
    path.write_text(json.dumps({"stage_c_to_rgb": {"weight": [[0.1] * 16] * 3, "bias": [0.5] * 3}}))
    checkpoint = replace(own_checkpoint, previewer=path)
    stage = WuerstchenC.load(checkpoint, Placement("cpu"))
    row = stage.admit(WuerstchenCTask(REQUEST))
    stage.advance([row])
    shown = [stage.preview(row), WuerstchenC.load_output_drawer(checkpoint, "cpu")(latent)]
    assert [one.shape for one in shown if one is not None] == [(128, 192, 3)] * 2


def test_without_a_map_to_colours_checkers_cannot_see_compositions(
    wuerstchen_checkpoint: Checkpoint,
) -> None:
    with pytest.raises(ModelUnavailable, match="wuerstchen has no previewer"):
        WuerstchenC.load_output_drawer(wuerstchen_checkpoint, "cpu")


def test_prompts_that_are_cut_off_bring_a_warning(wuerstchen_checkpoint: Checkpoint) -> None:
    warnings = WuerstchenC.load_warnings(wuerstchen_checkpoint)
    assert warnings(REQUEST, None) == []
    [warning] = warnings(replace(REQUEST, prompt="ring " * 50), None)
    assert warning == "only the first 38 tokens of the prompt are used"


def test_every_stage_warms_up_with_the_sizes_that_were_prepared(
    wuerstchen_checkpoint: Checkpoint, caplog: pytest.LogCaptureFixture
) -> None:
    for spec in WUERSTCHEN.stages:
        stage = spec.model_class().load(wuerstchen_checkpoint, Placement("cpu"))
        stage.prepare(Preparation(((384, 256),), max_rows=2, compiles=spec.name != "a"))
        task = stage.warm_up()
        assert stage.admit(task).steps == 1
    assert caplog.messages == [
        "PriorNetwork is neither compiled nor recorded",
        "DecoderNetwork is neither compiled nor recorded",
    ]


def test_stages_load_in_half_precision(
    wuerstchen_checkpoint: Checkpoint, latent: WuerstchenLatent
) -> None:
    stage = WuerstchenC.load(wuerstchen_checkpoint, Placement("cpu", "bfloat16"))
    handed = run_alone(stage, WuerstchenCTask(REQUEST))
    assert handed.latents_chw.dtype == "bfloat16"
    details = WuerstchenB.load(wuerstchen_checkpoint, Placement("cpu", "float32"))
    assert run_alone(details, WuerstchenBTask(handed, REQUEST)).latents_chw.dtype == "float32"


def test_a_combined_folder_loads_with_the_text_encoder_of_each_stage(
    wuerstchen: TinyWuerstchen, wuerstchen_pipeline: CascadePipeline, tmp_path: Path
) -> None:
    folder = write_combined(wuerstchen, tmp_path / "combined")
    checkpoint = open_checkpoint(ModelSource(str(folder)))
    pipeline = CascadePipeline.load(checkpoint, Placement("cpu"), WUERSTCHEN)
    request = replace(REQUEST, negative_prompt="blue", decoder_guidance_scale=2.0)
    ours, expected = (one.run(request).pixels_hwc for one in (pipeline, wuerstchen_pipeline))
    assert np.array_equal(ours, expected)


@pytest.mark.parametrize(
    ("index", "scaling"),
    [
        (None, Scaling(42.0, 1.0)),
        ({"_class_name": "WuerstchenCombinedPipeline"}, Scaling(42.0, 1.0)),
        ({"latent_mean": 7, "latent_std": 0.5}, Scaling(7.0, 0.5)),
    ],
)
def test_compositions_are_scaled_as_the_model_index_says(
    index: dict[str, Any] | None, scaling: Scaling, own_checkpoint: Checkpoint
) -> None:
    path = own_checkpoint.component("prior").parent / "model_index.json"
    if index is None:
        path.unlink()
    else:
        path.write_text(json.dumps(index))
    assert Scaling.load(own_checkpoint) == scaling


@pytest.mark.parametrize("wrong", ['{"latent_mean": "42"}', '{"latent_std": true}', "[]", "{"])
def test_a_wrong_model_index_is_named(wrong: str, own_checkpoint: Checkpoint) -> None:
    path = own_checkpoint.component("prior").parent / "model_index.json"
    path.write_text(wrong)
    with pytest.raises(ModelUnavailable, match=str(path)):
        WuerstchenC.load(own_checkpoint, Placement("cpu"))


@pytest.mark.parametrize(
    ("stage", "component", "file"),
    [
        (WuerstchenC, "prior", WEIGHTS),
        (WuerstchenC, "prior", "config.json"),
        (WuerstchenC, "text_encoder", "config.json"),
        (WuerstchenC, "text_encoder", "model.safetensors"),
        (WuerstchenC, "tokenizer", "tokenizer_config.json"),
        (WuerstchenB, "decoder", WEIGHTS),
        (WuerstchenB, "decoder_text_encoder", "model.safetensors"),
        (WuerstchenB, "decoder_tokenizer", "tokenizer_config.json"),
        (WuerstchenB, "vqgan", WEIGHTS),
    ],
)
@pytest.mark.parametrize("how", ["missing", "garbage"])
def test_a_missing_or_wrong_file_is_named(
    how: str, stage: Any, component: str, file: str, own_checkpoint: Checkpoint
) -> None:
    path = own_checkpoint.component(component) / file
    path.unlink()
    if how == "garbage":
        path.write_bytes(b"garbage")
    with pytest.raises(ModelUnavailable, match=str(path.parent)):
        stage.load(own_checkpoint, Placement("cpu"))


@pytest.mark.parametrize(("stage", "component"), [(WuerstchenC, "prior"), (WuerstchenB, "decoder")])
def test_a_network_of_another_class_is_refused(
    stage: Any, component: str, own_checkpoint: Checkpoint
) -> None:
    path = own_checkpoint.component(component) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"_class_name": "UNet2DModel"}))
    with pytest.raises(ModelUnavailable, match=f"{path.parent} holds no Wuerstchen"):
        stage.load(own_checkpoint, Placement("cpu"))


class Watched(Listener):
    """Collects a task's events, and cancels it after a step if told to."""

    def __init__(self, cancel_after: int = 0) -> None:
        super().__init__()
        self.cancel_after = cancel_after
        self.handle: TaskHandle | None = None
        self.submitted = threading.Event()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Stepped) and event.step == self.cancel_after:
            assert self.submitted.wait(HANG_S)
            assert self.handle is not None
            self.handle.cancel()
        super().__call__(event)


@pytest.fixture
def engine(wuerstchen_pipeline: CascadePipeline) -> Iterator[StepEngine[Any, Any, Any]]:
    made: StepEngine[Any, Any, Any] = StepEngine(wuerstchen_pipeline.stages["c"], 3)
    yield made
    made.close()


def submit(
    engine: StepEngine[Any, Any, Any], request: GenerationRequest, cancel_after: int = 0
) -> Watched:
    listener = Watched(cancel_after)
    listener.handle = engine.submit(WuerstchenCTask(request), listener)
    listener.submitted.set()
    return listener


def test_rows_that_share_steps_in_an_engine_end_as_they_do_alone(
    engine: StepEngine[Any, Any, Any], wuerstchen_pipeline: CascadePipeline
) -> None:
    requests = [
        replace(REQUEST, steps=7),
        replace(REQUEST, steps=3, guidance_scale=0.0, seed=8),
        replace(REQUEST, width=256, steps=5, seed=9),
    ]
    alone = [run_alone(wuerstchen_pipeline.stages["c"], WuerstchenCTask(one)) for one in requests]
    listeners = [submit(engine, one) for one in requests]
    engine.start()
    for listener, expected in zip(listeners, alone, strict=True):
        end = listener.end()
        assert isinstance(end, Finished)
        found, wanted = end.result.latents_chw.array, expected.latents_chw.array
        assert np.linalg.norm(found - wanted) < 1e-5 * np.linalg.norm(wanted)
    assert engine.stats().steps_launched < sum(one.steps for one in requests)


def test_a_cancelled_row_takes_no_further_step_and_its_neighbour_goes_on(
    engine: StepEngine[Any, Any, Any],
) -> None:
    cancelled = submit(engine, replace(REQUEST, steps=50), cancel_after=2)
    neighbour = submit(engine, replace(REQUEST, steps=6))
    engine.start()
    assert cancelled.error().code == "cancelled"
    assert sum(isinstance(event, Stepped) for event in cancelled.events) == 2
    assert isinstance(neighbour.end(), Finished)
