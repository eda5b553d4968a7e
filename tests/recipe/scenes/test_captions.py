"""Captions say what the scene shows, and report truly what they say."""

import random

from recipe.scenes.captions import COLOUR_WORDS, exact_caption, random_caption
from recipe.scenes.scene import Scene, Thing, sample_scene


def thing(**changes: object) -> Thing:
    """A plain red circle in the center, with changes."""
    given: dict[str, object] = {
        "shape": "circle",
        "colour": "red",
        "texture": "plain",
        "place": "center",
        "size": "medium",
        "x_px": 128.0,
        "y_px": 128.0,
        "radius_px": 52.0,
    }
    return Thing(**{**given, **changes})  # type: ignore[arg-type]


def test_exact_caption_names_every_attribute_of_one_thing() -> None:
    scene = Scene("white", (thing(texture="striped", size="large", place="top left"),), 0)
    expected = "a large striped red circle in the top left on a white background"
    assert exact_caption(scene) == expected


def test_exact_caption_of_two_things_leaves_sizes_out_and_uses_the_right_article() -> None:
    things = (thing(place="left", colour="orange"), thing(place="right", shape="star"))
    expected = "an orange circle on the left and a red star on the right on a black background"
    assert exact_caption(Scene("black", things, 0)) == expected


def test_random_captions_contain_a_word_for_each_colour_they_report() -> None:
    rng = random.Random(3)
    for _ in range(300):
        scene = sample_scene(rng)
        text, mentions, background = random_caption(scene, rng)
        colours = [said["colour"] for said in mentions if "colour" in said]
        for colour in [*colours, *([background] if background else [])]:
            assert any(word in text for word in COLOUR_WORDS.get(colour, (colour,)))


def test_random_captions_report_only_what_is_true() -> None:
    rng = random.Random(4)
    for _ in range(300):
        scene = sample_scene(rng)
        _, mentions, background = random_caption(scene, rng)
        assert background in (None, scene.background)
        assert len(mentions) == len(scene.things)
        for said in mentions:
            assert any(
                all(getattr(one, name) == value for name, value in said.items())
                for one in scene.things
            )


def test_places_are_left_out_sometimes_but_not_always() -> None:
    """Without such captions the model could not draw a prompt that names no place."""
    rng = random.Random(5)
    scene = Scene("white", (thing(place="left"),), 0)
    named = ["place" in random_caption(scene, rng)[1][0] for _ in range(200)]
    assert 100 < sum(named) < 200


def test_one_caption_in_seven_names_the_shape_and_at_most_one_attribute_more() -> None:
    rng = random.Random(6)
    open_ones = 0
    for _ in range(4000):
        text, mentions, background = random_caption(sample_scene(rng), rng)
        named = [name for said in mentions for name, value in said.items() if value != "plain"]
        open_ones += len(named) + (background is not None) <= 2
        assert text
    assert 0.13 < open_ones / 4000 < 0.18


def test_an_open_caption_of_a_patterned_thing_names_the_pattern() -> None:
    """A caption without a texture means plain, however little it names."""
    rng = random.Random(7)
    scene = Scene("white", (thing(texture="dotted"),), 0)
    for _ in range(400):
        text = random_caption(scene, rng)[0]
        assert any(word in text for word in ("dotted", "spotted", "dots", "spots"))
