"""The renderer draws the asked colours at the asked places, the same way every time."""

import random
from dataclasses import replace

import numpy as np
import pytest

from recipe.scenes.data import scene_masks, thumbnail
from recipe.scenes.render import accent_rgb, base_rgb, coverage, distance, render
from recipe.scenes.scene import COLOUR_NAMES, SHAPES, Scene, sample_scene


def one_thing(seed: int = 0, **changes: object) -> Scene:
    """A scene with a single thing, changed as asked."""
    scene = sample_scene(random.Random(seed), things=1)
    return replace(scene, things=(replace(scene.things[0], **changes),))  # type: ignore[arg-type]


@pytest.mark.parametrize("colour", COLOUR_NAMES)
def test_a_plain_thing_has_its_colour_at_its_centre(colour: str) -> None:
    background = "white" if colour != "white" else "black"
    scene = one_thing(shape="circle", colour=colour, texture="plain", x_px=100.0, y_px=150.0)
    picture = render(replace(scene, background=background)).astype(float) / 255
    assert np.allclose(picture[140:160, 90:110].mean((0, 1)), base_rgb(colour), atol=0.09)
    assert np.allclose(picture[:8].mean((0, 1)), base_rgb(background), atol=0.09)


@pytest.mark.parametrize("texture", ["striped", "dotted", "checkered"])
def test_a_texture_shows_both_of_its_colours(texture: str) -> None:
    scene = one_thing(shape="square", colour="yellow", texture=texture, radius_px=60.0)
    thing = scene.things[0]
    inside = coverage(thing, (256, 256)) == 1
    pixels = render(replace(scene, background="blue"))[inside].astype(float) / 255
    base = base_rgb("yellow")
    is_accent = np.linalg.norm(pixels - accent_rgb(base), axis=1) < np.linalg.norm(
        pixels - base, axis=1
    )
    assert 0.2 < is_accent.mean() < 0.65


def test_the_same_scene_gives_the_same_picture_and_another_grain_seed_does_not() -> None:
    scene = one_thing()
    assert (render(scene) == render(scene)).all()
    assert (render(scene) != render(replace(scene, grain_seed=scene.grain_seed + 1))).any()


@pytest.mark.parametrize("shape", SHAPES)
def test_outlines_have_about_the_same_weight_and_stay_within_reach(shape: str) -> None:
    scene = one_thing(shape=shape, x_px=128.0, y_px=128.0, radius_px=60.0)
    mask = coverage(scene.things[0], (256, 256))
    assert 0.4 < mask.sum() / (np.pi * 60**2) < 1.15
    ys, xs = np.nonzero(mask)
    assert np.hypot(xs - 128, ys - 128).max() < 60 * 1.4


def test_distance_is_negative_inside_and_grows_outwards() -> None:
    x, y = np.array([0.0, 100.0, 200.0], np.float32), np.zeros(3, np.float32)
    for shape in ("circle", "square", "triangle", "star", "heart"):
        found = distance(shape, x, y, 50.0)
        assert found[0] < 0 < found[1] < found[2]
    assert distance("ring", x, y, 50.0)[0] > 0


def test_masks_and_thumbnails_agree_with_the_picture() -> None:
    scene = one_thing(shape="circle", x_px=60.0, y_px=190.0)
    masks = scene_masks(scene)
    assert masks.shape == (2, 64, 64)
    assert masks[0, 47, 15] == 255
    assert masks[1].max() == 0
    assert thumbnail(render(scene)).shape == (96, 96, 3)


def test_a_wide_scene_is_rendered_wide() -> None:
    scene = sample_scene(random.Random(0), size_px=(384, 256))
    assert render(scene).shape == (256, 384, 3)


@pytest.mark.parametrize("texture", ["striped", "checkered"])
def test_another_grain_seed_keeps_a_pattern_or_swaps_its_two_colours(texture: str) -> None:
    """The latent of Stage C cannot know the phase, so *Vary details* may choose either."""
    scene = one_thing(shape="square", colour="yellow", texture=texture, radius_px=60.0)
    inside = coverage(scene.things[0], (256, 256)) == 1
    renders = [render(replace(scene, grain_seed=seed))[inside].mean(1) for seed in range(12)]
    same = [np.corrcoef(renders[0], other)[0, 1] for other in renders[1:]]
    assert min(same) < -0.7
    assert max(same) > 0.7
    assert all(abs(correlation) > 0.7 for correlation in same)
