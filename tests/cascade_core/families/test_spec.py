"""Families as data: routes, work and names follow from the stages that a family lists."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import pytest

from cascade_core.errors import ModelUnavailable, Unsupported
from cascade_core.families.spec import Family, StageSpec
from cascade_core.families.stable_cascade import STABLE_CASCADE
from cascade_core.request import GenerationRequest

GENERATE = GenerationRequest(prompt="x", width=512, height=512, n=2, seed=1, decoder_seed=2)
DETAILS = replace(GENERATE, kind="vary_details", latent_id="01J")
VARY = replace(GENERATE, kind="vary", latent_id="01J", strength=0.7)


def work(request: GenerationRequest) -> float:
    return float(request.steps)


def steps(request: GenerationRequest) -> int:
    return request.steps


def stage(name: str, output: str = "made.up:HandOff", **changes: Any) -> StageSpec:
    values = {"title": name, "model": f"made.up:{name}", "components": (), "share": 0.5}
    return StageSpec(name=name, work=work, steps=steps, gpu_share=0.5, output=output,
                     **values | changes)  # fmt: skip


REFINE = stage("refine", draws_details=True, scales=True)
FOUR = Family(
    name="four",
    stages=(stage("plan"), stage("c", keeps_output=True), REFINE, stage("a", "")),
)
FIRST = Family(name="first", stages=(stage("c", keeps_output=True), REFINE, stage("a", "")))
TWO = Family(name="two", stages=(stage("base"), stage("decoder", "")))


def route(family: Family, request: GenerationRequest) -> list[str]:
    return [spec.name for spec in family.route(request)]


def test_new_pictures_pass_every_stage_and_new_details_those_after_the_kept_output() -> None:
    assert route(FOUR, GENERATE) == ["plan", "c", "refine", "a"]
    assert route(FOUR, DETAILS) == ["refine", "a"]


def test_what_a_family_can_do_follows_from_the_output_that_it_keeps() -> None:
    assert TWO.kept is None
    assert list(TWO.operations) == ["generate"]
    assert list(FOUR.operations) == ["generate", "vary_details", "decode"]
    from_first = ["vary_details", "vary", "decode", "series", "image_to_image"]
    assert list(FIRST.operations) == ["generate", *from_first]
    assert route(TWO, GENERATE) == ["base", "decoder"]


def test_details_are_varied_where_a_later_stage_draws_them_and_scaled_where_one_can() -> None:
    kept, last = stage("c", keeps_output=True), stage("a", "")
    bare = Family(name="bare", stages=(kept, last))
    assert list(bare.operations) == ["generate", "vary", "series", "image_to_image"]
    refined = Family(name="refined", stages=(kept, replace(REFINE, scales=False), last))
    assert "vary_details" in refined.operations
    assert "decode" not in refined.operations


def test_each_stage_knows_the_one_before_it() -> None:
    before = [FOUR.before(spec) for spec in FOUR.stages]
    assert [spec and spec.name for spec in before] == [None, "plan", "c", "refine"]
    assert FOUR.kept == FOUR.stage("c")


def test_a_variation_passes_every_stage_and_its_first_one_takes_the_stored_output() -> None:
    assert route(FIRST, VARY) == ["c", "refine", "a"]
    sources = [FIRST.source_of(spec, VARY) for spec in FIRST.stages]
    assert [spec and spec.name for spec in sources] == ["c", "c", "refine"]
    assert FIRST.source_of(FIRST.stage("c"), GENERATE) is None
    assert FIRST.source_of(FIRST.stage("refine"), DETAILS) == FIRST.kept


def test_images_share_the_latent_that_they_start_from_unless_they_make_one() -> None:
    assert [FIRST.makes_latent(made) for made in (GENERATE, VARY, DETAILS)] == [True, True, False]
    planned = [FIRST.planned_latent_id(made, 1) for made in (GENERATE, VARY, DETAILS)]
    assert planned == [None, None, "01J"]
    assert TWO.planned_latent_id(GENERATE, 0) is None


def test_the_hero_of_a_series_has_the_latent_that_the_other_images_start_from() -> None:
    variants = [{"colour": "red"}, {"colour": "blue"}]
    values = {"prompt": "{colour}", "variants": variants, "hero_id": "01K", "strength": 0.7}
    series = replace(GENERATE, kind="series", **values)
    assert [FIRST.planned_latent_id(series, index) for index in (0, 1)] == ["01K", None]
    images = [series.for_image(index) for index in (0, 1)]
    sources = [FIRST.source_of(FIRST.stage("c"), image) for image in images]
    assert sources == [None, FIRST.kept]


def test_the_work_of_a_job_is_that_of_its_images_at_the_stages_they_pass() -> None:
    assert FOUR.work(GENERATE) == 2 * 4 * GENERATE.steps
    assert FOUR.work(DETAILS) == 2 * 2 * GENERATE.steps


def test_the_hero_that_a_series_makes_costs_a_whole_picture_and_the_others_a_part() -> None:
    variants = [{"colour": "red"}, {"colour": "blue"}, {"colour": "green"}]
    series = {"kind": "series", "prompt": "{colour}", "variants": variants, "n": 3}
    made = replace(GENERATE, **series, hero_id="01K", strength=0.5)
    new, varied = replace(GENERATE, n=1), replace(VARY, n=1, strength=0.5)
    expected = STABLE_CASCADE.work(new) + 2 * STABLE_CASCADE.work(varied)
    assert STABLE_CASCADE.work(made) == pytest.approx(expected)
    assert STABLE_CASCADE.work(new) > STABLE_CASCADE.work(varied)


def test_names_of_deployments_and_costs_follow_from_the_stage() -> None:
    assert [spec.deployment for spec in FOUR.stages] == [
        "StagePlan", "StageC", "StageRefine", "StageA",
    ]  # fmt: skip
    assert [spec.cost_key for spec in TWO.stages] == ["base_s", "decoder_s"]


def test_what_leads_to_a_kept_output_is_known() -> None:
    assert [FOUR.leads_to_kept(spec) for spec in FOUR.stages] == [True, True, False, False]
    assert not any(TWO.leads_to_kept(spec) for spec in TWO.stages)


def test_the_parts_of_the_checkpoint_are_those_that_any_stage_loads() -> None:
    both = (stage("a", components=("vqgan", "prior")), stage("b", "", components=("vqgan",)))
    assert Family(name="both", stages=both).components == ("vqgan", "prior")


def test_images_of_a_step_are_what_the_model_states_else_the_stages_own_number() -> None:
    assert TWO.max_rows("cpu", {}) == {"base": 1, "decoder": 1}
    assert TWO.max_rows("cuda", {}) == {"base": 4, "decoder": 4}
    stated = {"cpu": {"decoder": 2}, "cuda": {"base": 8, "decoder": 3}}
    assert TWO.max_rows("cpu", stated) == {"base": 1, "decoder": 2}
    assert TWO.max_rows("cuda", stated) == {"base": 8, "decoder": 3}


def test_a_number_for_a_stage_that_the_family_does_not_have_is_refused() -> None:
    with pytest.raises(ModelUnavailable, match="names c, but the stages are base, decoder"):
        TWO.max_rows("cuda", {"cpu": {"c": 2, "base": 2}})


def test_families_travel_to_other_processes() -> None:
    assert pickle.loads(pickle.dumps(FOUR)) == FOUR


@pytest.mark.parametrize(
    "stages",
    [
        (),
        (stage("A", ""),),
        (stage("a-b", ""),),
        (stage("a" * 17, ""),),
        (stage("a"),),
        (stage("a", ""), stage("b", "")),
        (stage("a"), stage("a", "")),
        (stage("a", "", keeps_output=True),),
        (stage("c", keeps_output=True), stage("b", keeps_output=True), stage("a", "")),
    ],
)
def test_stages_that_do_not_fit_together_are_no_family(stages: tuple[StageSpec, ...]) -> None:
    with pytest.raises(ValueError, match="broken"):
        Family(name="broken", stages=stages)


def test_a_client_cannot_give_a_field_that_the_family_lacks() -> None:
    family = replace(TWO, lacks=("negative_prompt", "decoder_steps"))
    family.check_fields({"prompt": "a fox", "steps": 4, "negative_prompt": ""})
    for name, value in (("negative_prompt", "a dog"), ("decoder_steps", 4)):
        with pytest.raises(Unsupported) as caught:
            family.check_fields({"prompt": "a fox", name: value})
        assert caught.value.field == name


def test_a_family_lacks_only_fields_that_requests_have() -> None:
    with pytest.raises(ValueError, match="colour"):
        replace(TWO, lacks=("colour",))
