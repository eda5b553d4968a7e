"""The shapes that people choose from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.policy.aspects import ASPECTS, aspect_name, aspects_to_choose, parse_aspect, size_of
from bot.service.models import ModelInfo
from bot.text.catalog import Catalog, Translator
from bot.text.error_messages import UserError

MODEL = ModelInfo("demo", "Apache-2.0", 1024, 1024, 128, 256, 2048, ("a fox",), 20)


def test_every_aspect_is_a_size_that_the_model_can_do() -> None:
    sizes = {aspect: size_of(aspect, MODEL) for aspect in ASPECTS}
    assert sizes["square"] == (1024, 1024)
    assert sizes["landscape"] == sizes["portrait"][::-1]
    assert len(set(sizes.values())) == len(sizes)
    for width, height in sizes.values():
        assert width % 128 == height % 128 == 0
        assert 0.6 < width * height / 1024**2 < 1.5


def test_a_small_model_still_tells_wide_from_square() -> None:
    small = replace(MODEL, width=256, height=256, max_side=384)
    assert size_of("square", small) == (256, 256)
    assert size_of("wide", small) == (384, 256)
    assert size_of("tall", small) == (256, 384)


def test_shapes_are_named_with_their_size_and_no_two_offered_make_the_same(
    catalog: Catalog,
) -> None:
    small = replace(MODEL, width=256, height=256, max_side=512)
    german = Translator(catalog, "de")
    named = [aspect_name(german, aspect, small) for aspect in aspects_to_choose(small)]
    assert named == [
        "quadratisch 1:1 (256×256)",  # noqa: RUF001
        "Querformat 3:2 (384×256)",  # noqa: RUF001
        "Hochformat 2:3 (256×384)",  # noqa: RUF001
    ]
    assert len(list(aspects_to_choose(MODEL))) == len(list(aspects_to_choose(None))) == 5
    assert aspect_name(german, "wide", None) == "breit 16:9"


def test_a_shape_that_is_typed_is_known_by_its_name_in_the_language_or_its_ratio(
    catalog: Catalog,
) -> None:
    german = Translator(catalog, "de")
    for given_name in ("wide", "Breit", "16:9", "breit 16:9 (384×256)"):  # noqa: RUF001
        assert parse_aspect(german, "form", given_name) == "wide"
    assert parse_aspect(german, "form", None) is None
    with pytest.raises(UserError):
        parse_aspect(german, "form", "hexagon")
