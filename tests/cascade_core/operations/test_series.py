"""A series: each image is a variation of one hero, with the prompt of its variant."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ulid import ULID

from cascade_core.errors import CascadeError, InvalidRequest
from cascade_core.model_defaults import ModelDefaults
from cascade_core.operations.fields import MAX_VARIANTS
from cascade_core.operations.registry import GENERATE, SERIES, VARY
from cascade_core.request import GenerationRequest

HERO = GenerationRequest(
    prompt="a star", width=512, height=256, seed=3, decoder_seed=4, steps=9, negative_prompt="text"
).to_dict()
GIVEN: dict[str, Any] = {
    "hero": "01J",
    "template": "a {colour} star",
    "variants": [{"colour": "red"}, {"colour": "blue"}],
}


def resolved(**more: Any) -> GenerationRequest:
    given = GIVEN | more
    SERIES.check(given)
    return GenerationRequest.from_dict(SERIES.complete(given, ModelDefaults(), HERO))


def test_a_series_keeps_the_heros_size_and_has_one_noise_and_one_grain() -> None:
    made = resolved(seed=5)
    assert (made.kind, made.n, made.latent_id) == ("series", 2, "01J")
    assert (made.prompt, made.negative_prompt) == ("a {colour} star", "text")
    assert (made.width, made.height, made.steps, made.strength) == (512, 256, 9, 0.7)
    images = [made.for_image(index) for index in range(made.n)]
    assert {(image.seed, image.decoder_seed) for image in images} == {(5, 5)}


def test_an_image_is_the_variation_that_its_variant_alone_would_be() -> None:
    series = resolved(seed=5, decoder_seed=8, strength="strong", guidance_scale=3.0)
    given = {
        "latent_id": "01J",
        "prompt": "a blue star",
        "strength": "strong",
        "seed": 5,
        "decoder_seed": 8,
        "guidance_scale": 3.0,
    }
    alone = GenerationRequest.from_dict(VARY.complete(given, ModelDefaults(), HERO))
    assert series.for_image(1) == alone
    assert series.for_image(1).for_image(0) == alone


def test_a_series_survives_its_dict_with_its_variants() -> None:
    made = resolved()
    assert GenerationRequest.from_stored(made.to_dict()) == made
    assert made.to_dict()["variants"] == GIVEN["variants"]


def test_the_template_is_filled_for_a_new_series_and_not_for_a_stored_one() -> None:
    values = resolved().to_dict() | {"variants": [{"colour": "red"}, {"hue": "blue"}]}
    with pytest.raises(InvalidRequest, match=r"variants\[1\] lacks 'colour'"):
        GenerationRequest.from_dict(values)
    assert GenerationRequest.from_stored(values).n == 2


def test_a_series_may_have_as_many_images_as_variants_are_allowed() -> None:
    most = [{"colour": f"{number}"} for number in range(MAX_VARIANTS)]
    made = resolved(variants=most)
    assert (made.n, made.for_image(99).prompt) == (100, "a 99 star")
    with pytest.raises(InvalidRequest, match="n must be a whole number between 1 and 8"):
        replace(made.for_image(0), n=9)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"variants": []}, "variants"),
        ({"variants": [{"colour": "red"}] * 101}, "variants"),
        ({"variants": {"colour": "red"}}, "variants"),
        ({"variants": ["red"]}, "variants[0]"),
        ({"variants": [{"colour": 5}]}, "variants[0]"),
        ({"variants": [{"colour": "red"}, {}]}, "variants[1]"),
        ({"template": "a red star"}, "template"),
        ({"template": "a {colour} star\x1b"}, "template"),
        ({"negative_prompt": "\x1b"}, "negative_prompt"),
        ({"n": 2}, "n"),
        ({"prompt": "a star"}, "prompt"),
        ({"latent_id": "01J"}, "latent_id"),
        ({"width": 512}, "width"),
    ],
)
def test_what_makes_no_series_is_refused_by_name(more: dict[str, Any], field: str) -> None:
    with pytest.raises(CascadeError) as caught:
        SERIES.check(GIVEN | more)
    assert caught.value.field == field


def without_hero(**more: Any) -> GenerationRequest:
    given = {name: value for name, value in GIVEN.items() if name != "hero"} | more
    SERIES.check(given)
    return GenerationRequest.from_dict(SERIES.complete(given, ModelDefaults(), None))


def test_a_prompt_and_the_seed_make_an_image_again_alone_if_no_other_value_was_given() -> None:
    series, without = resolved(seed=5), without_hero(seed=5, steps=9, negative_prompt="text")
    sources = {"01J": (series, HERO), without.hero_id: (without, without.for_image(0).to_dict())}
    for latent_id, (made, source) in sources.items():
        given = {"latent_id": latent_id, "prompt": "a blue star", "seed": 5}
        alone = GenerationRequest.from_dict(VARY.complete(given, ModelDefaults(), source))
        assert alone == made.for_image(1)


def test_without_a_hero_the_first_variant_is_a_new_picture_and_the_others_vary_it() -> None:
    made = without_hero(seed=5, width=512, height=256, strength=0.6)
    assert made.latent_id is None
    assert made.hero_id
    hero, varied = made.for_image(0), made.for_image(1)
    given = {"prompt": "a red star", "seed": 5, "width": 512, "height": 256}
    alone = GENERATE.complete(given, ModelDefaults(), None)
    assert hero == GenerationRequest.from_dict(alone)
    given = {"latent_id": made.hero_id, "prompt": "a blue star", "seed": 5, "strength": 0.6}
    alone = VARY.complete(given, ModelDefaults(), hero.to_dict())
    assert varied == GenerationRequest.from_dict(alone)
    assert [made.derived_from(index) for index in (0, 1)] == [None, varied.derived_from()]


def test_each_series_without_a_hero_makes_a_latent_of_its_own() -> None:
    assert without_hero().hero_id != without_hero().hero_id
    assert GenerationRequest.from_stored(without_hero(seed=1).to_dict()).hero_id


def test_a_series_without_a_hero_is_not_larger_than_the_model_can_draw() -> None:
    with pytest.raises(InvalidRequest, match="width") as caught:
        without_hero(width=4096)
    assert caught.value.field == "width"


@pytest.mark.parametrize("changes", [{"latent_id": "01J"}, {"hero_id": None}])
def test_a_series_starts_from_one_latent_only(changes: dict[str, Any]) -> None:
    with pytest.raises(CascadeError):
        replace(without_hero(), **changes)
    with pytest.raises(CascadeError, match="hero_id"):
        replace(without_hero().for_image(1), hero_id="01J", latent_id=None)


@pytest.mark.parametrize("name", ["template", "variants"])
def test_a_series_needs_template_and_variants(name: str) -> None:
    with pytest.raises(CascadeError, match=name) as caught:
        SERIES.check({key: value for key, value in GIVEN.items() if key != name})
    assert caught.value.field == name


def test_variants_go_with_a_series_alone_and_are_counted() -> None:
    with pytest.raises(InvalidRequest, match="number of variants, 2, got 3"):
        replace(resolved(), n=3)
    with pytest.raises(CascadeError, match="takes no variants"):
        replace(resolved().for_image(0), variants=GIVEN["variants"])
    with pytest.raises(CascadeError, match="needs variants"):
        replace(resolved(), variants=None)


def test_the_id_of_a_hero_is_a_ulid() -> None:
    hero_id = without_hero().hero_id
    assert hero_id is not None
    assert str(ULID.from_str(hero_id)) == hero_id
