"""A picture can be read without its scene."""

import random

import numpy as np

from recipe.evaluation.reading import overlap, read_picture
from recipe.scenes.render import render
from recipe.scenes.scene import Scene, sample_scene


def test_true_renders_are_read_as_their_scenes() -> None:
    rng = random.Random(12)
    right = []
    for _ in range(40):
        scene = sample_scene(rng, things=1)
        thing = scene.things[0]
        shown = read_picture(render(scene)).shown
        assert shown["background"] == scene.background
        right.append(
            [shown[name] == getattr(thing, name) for name in shown if name != "background"]
        )
    assert np.mean(right, axis=0).min() >= 0.9


def test_a_picture_without_a_thing_shows_a_background_alone() -> None:
    assert read_picture(render(Scene("green", (), 3))).shown == {"background": "green"}


def test_overlap_is_one_for_equal_masks_and_nothing_for_separate_ones() -> None:
    one, other = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    one[:4], other[2:6] = True, True
    assert overlap(one, one) == 1
    assert overlap(one, other) == 16 / 48
    assert overlap(one, ~one) == 0
