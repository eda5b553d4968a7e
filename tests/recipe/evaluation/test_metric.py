"""The metric recognises true renders and notices each kind of mistake."""

import random
from dataclasses import replace

import numpy as np

from recipe.evaluation.metric import best_texture, score
from recipe.scenes.render import render
from recipe.scenes.scene import Scene, sample_scene


def scenes(count: int, things: int) -> list[Scene]:
    """Held-out scenes."""
    rng = random.Random(11)
    return [sample_scene(rng, held_out=True, things=things) for _ in range(count)]


def test_true_renders_score_nearly_perfectly() -> None:
    for things in (1, 2):
        scores = [score(render(scene), scene) for scene in scenes(20, things)]
        assert all(found.background for found in scores)
        for attribute in ("is_present", "place", "colour", "shape", "texture"):
            right = [getattr(thing, attribute) for found in scores for thing in found.things]
            assert np.mean(right) >= 0.95, attribute


def test_a_picture_of_another_scene_is_noticed() -> None:
    """One attribute is changed at a time, and only that one is reported wrong."""
    scene = sample_scene(random.Random(1), things=1)
    thing = replace(
        scene.things[0], shape="circle", colour="red", texture="plain", place="left", size="medium",
        x_px=72.0, y_px=128.0, radius_px=52.0,
    )  # fmt: skip
    scene = replace(scene, background="white", things=(thing,))
    changes = {
        "colour": {"colour": "blue"},
        "shape": {"shape": "star"},
        "texture": {"texture": "striped"},
        "place": {"x_px": 184.0},
    }
    for attribute, change in changes.items():
        drawn = replace(scene, things=(replace(thing, **change),))  # type: ignore[arg-type]
        found = score(render(drawn), scene).things[0]
        wrong = {name for name in changes if not getattr(found, name)}
        assert wrong == {attribute}


def test_an_empty_picture_has_no_thing_and_nothing_right_about_it() -> None:
    scene = sample_scene(random.Random(2), things=1)
    empty = render(replace(scene, things=()))
    found = score(empty, scene)
    assert found.background
    assert not any((found.things[0].is_present, found.things[0].colour, found.things[0].shape))


def test_background_of_another_colour_is_noticed() -> None:
    scene = replace(sample_scene(random.Random(3), things=1), background="cyan")
    assert not score(render(replace(scene, background="purple")), scene).background


def test_grain_alone_is_a_plain_texture() -> None:
    rng = np.random.default_rng(0)
    rgb = (0.6 + 0.04 * rng.standard_normal((64, 64, 3))).astype(np.float32)
    assert best_texture(rgb, np.ones((64, 64), bool)) == "plain"
