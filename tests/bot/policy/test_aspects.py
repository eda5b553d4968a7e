"""The shapes that people choose from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.policy.aspects import aspect_name, aspects_to_choose, parse_aspect
from bot.service.models import ModelInfo
from bot.text.catalog import Catalog, Translator
from bot.text.error_messages import UserError

MODEL = ModelInfo("demo", "Apache-2.0", 1024, 1024, 128, 256, 2048, ("a fox",), 20)


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
