import random
from itertools import pairwise

import pytest
from PIL import Image

from recipe.evaluation.scorer import score_picture
from recipe.scenes.captions import exact_caption
from recipe.scenes.render import render
from recipe.scenes.scene import Scene, sample_scene

SCENES = [sample_scene(random.Random(f"scorer {number}")) for number in range(24)]


def drawn(scene: Scene) -> Image.Image:
    return Image.fromarray(render(scene))


def test_a_drawn_scene_has_all_that_its_caption_names() -> None:
    scores = [score_picture(drawn(scene), exact_caption(scene))["right"] for scene in SCENES]
    assert min(scores) >= 0.75
    assert sum(scores) / len(scores) > 0.97


def test_another_scene_has_less_of_it() -> None:
    scores = [
        score_picture(drawn(one), exact_caption(two))["right"] for one, two in pairwise(SCENES)
    ]
    assert max(scores) < 1
    assert sum(scores) / len(scores) < 0.5


@pytest.mark.parametrize(
    "prompt",
    [
        "a portrait of a fox",
        "a red circle and a fox",
        "the star of the show on a red background",
        "a red circle and a blue star on a white background",  # no places: which is which?
        "",
    ],
)
def test_a_prompt_of_another_world_has_no_score(prompt: str) -> None:
    assert score_picture(Image.new("RGB", (256, 256)), prompt) == {}


def test_paraphrases_mean_the_same() -> None:
    scene = next(
        scene
        for scene in SCENES
        if len(scene.things) == 1 and scene.things[0].colour not in ("black", "white")
    )
    picture, caption = drawn(scene), exact_caption(scene)
    expected = score_picture(picture, caption)
    for text in (f"Draw {caption}", f"{caption}, high quality", caption.upper(), f"{caption}."):
        assert score_picture(picture, text) == expected
