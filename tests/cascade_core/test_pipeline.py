from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cascade_core.checkpoints.checkpoint import ModelSource, open_checkpoint
from cascade_core.checkpoints.weights import Placement
from cascade_core.errors import ModelMismatch
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.pipeline import CascadePipeline
from cascade_core.request import GenerationRequest

REQUEST = GenerationRequest(
    prompt="a red cat",
    width=256,
    height=256,
    seed=1,
    decoder_seed=2,
    steps=3,
    decoder_steps=2,
)


def test_every_step_of_every_stage_is_reported_in_order(tiny_pipeline: CascadePipeline) -> None:
    seen: list[tuple[str, int, int]] = []
    result = tiny_pipeline.run(REQUEST, on_step=lambda *step: seen.append(step))
    expected = [("c", 1, 3), ("c", 2, 3), ("c", 3, 3), ("b", 1, 2), ("b", 2, 2), ("a", 1, 1)]
    assert seen == expected
    assert result.seconds.keys() == {"c", "b", "a"}
    assert all(seconds > 0 for seconds in result.seconds.values())


def test_a_step_that_a_device_does_is_reported_when_it_is_done_and_the_next_one_launched(
    tiny_pipeline: CascadePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    story: list[tuple[str, int]] = []

    class NotedStep:
        def __init__(self, number: int) -> None:
            self.number = number

        def wait(self) -> float:
            story.append(("done", self.number))
            return 1.0

    stage = tiny_pipeline.stages["c"]
    advance = stage.advance

    def launch(rows: Sequence[Any]) -> NotedStep:
        advance(rows)
        story.append(("launched", rows[0].step))
        return NotedStep(rows[0].step)

    def tell(name: str, step: int, _steps: int) -> None:
        if name == "c":
            story.append(("told", step))

    monkeypatch.setattr(stage, "advance", launch)
    tiny_pipeline.run(REQUEST, on_step=tell)
    assert story == [
        ("launched", 1),
        ("launched", 2),
        ("done", 1),
        ("told", 1),
        ("launched", 3),
        ("done", 2),
        ("told", 2),
        ("done", 3),
        ("told", 3),
    ]


def test_the_same_request_gives_the_same_picture(tiny_pipeline: CascadePipeline) -> None:
    one, other = tiny_pipeline.run(REQUEST), tiny_pipeline.run(REQUEST)
    assert np.array_equal(one.pixels_hwc, other.pixels_hwc)


@pytest.mark.parametrize(
    "change", [{"seed": 3}, {"decoder_seed": 3}, {"prompt": "dogs"}, {"negative_prompt": "dogs"}]
)
def test_what_the_request_says_changes_the_picture(
    change: dict[str, int | str], tiny_pipeline: CascadePipeline
) -> None:
    changed = replace(REQUEST, **change)  # type: ignore[arg-type]
    one, other = tiny_pipeline.run(REQUEST), tiny_pipeline.run(changed)
    assert not np.array_equal(one.pixels_hwc, other.pixels_hwc)
    same_composition = np.array_equal(one.latent.latents_chw.array, other.latent.latents_chw.array)
    assert same_composition == ("decoder_seed" in change)


def test_varying_with_the_same_decoder_seed_repeats_the_picture_without_stage_c(
    tiny_pipeline: CascadePipeline,
) -> None:
    original = tiny_pipeline.run(REQUEST)
    vary = replace(REQUEST, kind="vary_details", latent_id="x")
    seen: list[str] = []
    repeated = tiny_pipeline.run(vary, original.latent, lambda stage, *_: seen.append(stage))
    assert np.array_equal(repeated.pixels_hwc, original.pixels_hwc)
    assert repeated.latent is original.latent
    assert seen == ["b", "b", "a"]
    assert repeated.seconds.keys() == {"b", "a"}
    varied = tiny_pipeline.run(replace(vary, decoder_seed=9), original.latent)
    assert not np.array_equal(varied.pixels_hwc, original.pixels_hwc)


def test_a_latent_of_another_model_cannot_be_varied(tiny_pipeline: CascadePipeline) -> None:
    latent = tiny_pipeline.run(REQUEST).latent
    foreign = replace(latent, model=replace(latent.model, fingerprint="f"))
    with pytest.raises(ModelMismatch):
        tiny_pipeline.run(replace(REQUEST, kind="vary_details", latent_id="x"), foreign)


def test_the_demo_model_paints_the_background_it_is_asked_for(no_network: None) -> None:
    checkpoint = open_checkpoint(ModelSource())
    pipeline = CascadePipeline.load(checkpoint, Placement("cpu"), STABLE_CASCADE)
    defaults = checkpoint.defaults

    def corner(background: str) -> float:
        picture = pipeline.run(
            GenerationRequest(
                prompt=f"a large red circle in the center on a {background} background",
                width=defaults.width,
                height=defaults.height,
                seed=1,
                decoder_seed=1,
                steps=8,
                guidance_scale=defaults.guidance_scale,
                decoder_steps=4,
            )
        ).pixels_hwc
        return float(picture[:32, :32].mean())

    assert corner("white") > corner("black") + 100
