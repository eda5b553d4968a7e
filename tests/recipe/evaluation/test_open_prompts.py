"""Open prompts name one or two attributes; the figures tell obedience and variety apart."""

import random
from dataclasses import replace

from recipe.evaluation.open_prompts import OpenPrompt, open_figures, open_prompts
from recipe.evaluation.reading import Reading, read_picture
from recipe.scenes.render import render
from recipe.scenes.scene import SHAPES, sample_scene

SCENE = sample_scene(random.Random(21), things=1)
STAR = replace(SCENE.things[0], shape="star", colour="red", texture="plain")
SCENE = replace(SCENE, background="white", things=(STAR,))


def reading(**changes: object) -> Reading:
    """Read a red star on white, with changes."""
    return read_picture(render(replace(SCENE, things=(replace(STAR, **changes),))))  # type: ignore[arg-type]


def test_prompts_read_as_people_write_them() -> None:
    assert OpenPrompt("star", "", "").text == "a star"
    assert OpenPrompt("heart", "colour", "orange").text == "an orange heart"
    assert OpenPrompt("ring", "background", "blue").text == "a ring on a blue background"
    assert OpenPrompt("square", "place", "top left").text == "a square in the top left"


def test_the_list_of_prompts_is_fixed_and_has_every_shape_of_every_kind() -> None:
    prompts = open_prompts(54)
    assert prompts == open_prompts(54)
    assert len({prompt.text for prompt in prompts}) == 54
    for also in ("", "colour", "background", "place", "texture"):
        assert {prompt.shape for prompt in prompts if prompt.also == also} == set(SHAPES)


def test_what_a_prompt_names_is_right_or_wrong_and_a_texture_not_named_means_plain() -> None:
    readings = [
        reading(),
        reading(colour="blue"),
        reading(texture="striped"),
        reading(shape="ring"),
    ]
    figures = open_figures([(OpenPrompt("star", "colour", "red"), readings)])
    assert figures["pictures"] == 4
    assert figures["right"] == {
        name: {"share": 0.75, "of": 4} for name in ("shape", "texture", "colour")
    }


def test_pictures_that_agree_on_what_is_open_count_as_alike() -> None:
    prompt = OpenPrompt("star", "colour", "red")
    same = open_figures([(prompt, [reading(), reading()])])
    moved = open_figures([(prompt, [reading(), reading(x_px=250 - STAR.x_px, y_px=STAR.y_px)])])
    assert same["alike"] == {"background": 1, "place": 1}
    assert moved["alike"] == {"background": 1, "place": 0}
    assert moved["pair_mask_iou"] < same["pair_mask_iou"] == 1
