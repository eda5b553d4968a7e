"""Würstchen v2 as data: its stages are those that cascade_core.stages implements."""

from __future__ import annotations

import math

import pytest

from cascade_core.families.spec import StageSpec
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.families.wuerstchen import DEFAULTS, STAGE_C, WUERSTCHEN
from cascade_core.request import GenerationRequest

stages = pytest.mark.parametrize("stage", WUERSTCHEN.stages, ids=WUERSTCHEN.names)


@stages
def test_a_stage_names_its_own_model_and_hand_off(stage: StageSpec) -> None:
    assert stage.model_class().name == stage.name
    if stage.output:
        assert callable(stage.output_class().decode)


@stages
def test_a_stage_loads_parts_that_have_a_folder(stage: StageSpec) -> None:
    assert set(stage.components) <= WUERSTCHEN.folders.keys()


def test_each_stage_that_draws_has_a_text_encoder_of_its_own() -> None:
    prior, decoder = WUERSTCHEN.folders["text_encoder"], WUERSTCHEN.folders["decoder_text_encoder"]
    assert prior.in_prior
    assert not decoder.in_prior
    # In a combined folder the prior's has another name; in its own repository it has not.
    assert prior.choices == ("prior_text_encoder", "text_encoder")
    assert decoder.choices == ("text_encoder",)


def test_the_bars_of_all_stages_make_a_whole() -> None:
    assert math.isclose(sum(stage.share for stage in WUERSTCHEN.stages), 1.0)
    assert sum(stage.gpu_share for stage in WUERSTCHEN.stages) <= 1.0


def test_compositions_are_kept_and_varied() -> None:
    assert WUERSTCHEN.kept is STAGE_C
    expected = {"generate", "vary", "vary_details", "series", "image_to_image"}
    assert WUERSTCHEN.operations.keys() == expected


def test_requests_have_the_values_of_the_stock_pipeline() -> None:
    assert (DEFAULTS.width, DEFAULTS.height) == (1024, 1024)
    assert (DEFAULTS.steps, DEFAULTS.guidance_scale) == (60, 4.0)
    assert (DEFAULTS.decoder_steps, DEFAULTS.decoder_guidance_scale) == (12, 0.0)


def test_an_equal_request_is_equal_work_in_every_cascade() -> None:
    request = GenerationRequest(prompt="x", width=512, height=256, seed=1, decoder_seed=2)
    assert WUERSTCHEN.work(request) == STABLE_CASCADE.work(request)
    assert [one.steps(request) for one in WUERSTCHEN.stages] == [20, 10, 1]
