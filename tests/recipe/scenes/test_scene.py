"""Scenes: what training may see and what is kept for evaluation."""

import random

from recipe.scale import FULL
from recipe.scenes.data import training_scene
from recipe.scenes.scene import COLOUR_NAMES, EDGE_PX, PAIRS, SHAPES, has_held_out, is_held_out
from recipe.scenes.scene import sample_scene as sample


def test_training_never_shows_a_held_out_combination() -> None:
    assert not any(has_held_out(training_scene(FULL, number)) for number in range(2000))


def test_evaluation_scenes_hold_only_held_out_combinations() -> None:
    rng = random.Random(0)
    for things in (1, 2):
        scene = sample(rng, held_out=True, things=things)
        assert len(scene.things) == things
        assert all(is_held_out(scene.background, t.shape, t.colour) for t in scene.things)


def test_every_shape_and_colour_occurs_in_training_and_in_evaluation() -> None:
    """A shape or colour that only one side knows would make the figures meaningless."""
    for shape in SHAPES:
        for colour in COLOUR_NAMES:
            outside = [is_held_out(b, shape, colour) for b in COLOUR_NAMES if b != colour]
            assert not all(outside)
    assert any(is_held_out(b, s, c) for b in COLOUR_NAMES for s in SHAPES for c in COLOUR_NAMES)


def test_things_stay_inside_the_canvas_and_apart_from_the_background() -> None:
    rng = random.Random(1)
    for size_px in ((256, 256), (384, 256), (256, 384)):
        for _ in range(200):
            scene = sample(rng, size_px=size_px)
            for thing in scene.things:
                assert thing.radius_px + EDGE_PX <= thing.x_px <= size_px[0] - thing.radius_px
                assert thing.radius_px + EDGE_PX <= thing.y_px <= size_px[1] - thing.radius_px
                assert thing.colour != scene.background


def test_two_things_stand_in_opposite_places() -> None:
    rng = random.Random(2)
    for _ in range(50):
        places = {thing.place for thing in sample(rng, things=2).things}
        assert places in [set(pair) for pair in PAIRS]


def test_a_training_scene_is_fixed_by_its_number() -> None:
    assert training_scene(FULL, 7) == training_scene(FULL, 7)
    assert training_scene(FULL, 7) != training_scene(FULL, 8)
