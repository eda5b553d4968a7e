"""The comparison of variants tells new grain from moved outlines; the table holds the figures."""

import random
from dataclasses import replace

import pytest

from recipe.evaluation.evaluate import summary
from recipe.evaluation.evaluation_table import table
from recipe.evaluation.metric import score
from recipe.evaluation.vary import grain_correlation, kept, mask_overlap
from recipe.scenes.render import render
from recipe.scenes.scene import sample_scene

SCENE = sample_scene(random.Random(21), things=1)
SCENE = replace(SCENE, things=(replace(SCENE.things[0], texture="plain"),))


def test_new_grain_keeps_outlines_and_loses_correlation() -> None:
    one, other = render(SCENE), render(replace(SCENE, grain_seed=SCENE.grain_seed + 1))
    assert grain_correlation(one, one) == pytest.approx(1, abs=1e-3)
    assert abs(grain_correlation(one, other)) < 0.2
    assert mask_overlap(one, other) > 0.95
    assert kept(score(one, SCENE)) == kept(score(other, SCENE))


def test_a_moved_thing_lowers_the_overlap() -> None:
    thing = SCENE.things[0]
    moved = replace(SCENE, things=(replace(thing, x_px=256 - thing.x_px, y_px=256 - thing.y_px),))
    shifted = replace(SCENE, things=(replace(thing, x_px=thing.x_px + 30),))
    assert min(mask_overlap(render(SCENE), render(s)) for s in (moved, shifted)) < 0.8


def test_summary_counts_one_and_two_things_apart() -> None:
    two = sample_scene(random.Random(22), things=2)
    wrong = render(replace(two, things=()))
    shares = summary([render(SCENE), wrong], [SCENE, two])
    assert shares["one"]["is_present"] == 1
    assert shares["two"]["is_present"] == 0
    assert shares["background"] == 1


def test_table_shows_every_link_and_figure() -> None:
    shares = summary([render(SCENE)], [SCENE])
    row = {
        "pictures": 8,
        "right": {"shape": {"share": 0.75, "of": 8}},
        "alike": {"place": 0.125},
        "pair_mask_iou": 0.2,
    }
    figures = {
        "weights_mb": 10.5,
        "links": {"A": shares},
        "open_prompts": {"shape alone": row},
        "vary_details": {"mask_iou": 0.9},
    }
    text = table(figures)
    assert "| A | 100.0% (21-100) | one | 100.0% (21-100)" in text
    assert "| shape alone | 8 | 75.0% (41-93) |  |  |  |  | 0.20 |  |  | 12.5% |" in text
    assert "| weights mb | 10.5 |" in text
    assert "vary details: mask iou | 0.9 |" in text
