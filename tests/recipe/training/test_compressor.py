"""The compressor's targets paint what the scene holds; its loss rewards telling it."""

import random

import numpy as np
import torch
from torch.nn import functional

from cascade_core.conditioning.latent_encoder import LatentEncoder
from recipe.scenes.data import scene_masks
from recipe.scenes.scene import COLOUR_NAMES, SHAPES, TEXTURES, sample_scene
from recipe.training.compressor import MeaningDecoder
from recipe.training.meaning import MAP_CHANNELS, MeaningTable, meaning_loss
from recipe.training.stage_c import thing_weights

SCENES = [sample_scene(random.Random(i)) for i in range(6)]
MASKS = np.stack([scene_masks(scene) for scene in SCENES])
ROWS = np.arange(len(SCENES))


def test_maps_hold_each_thing_class_at_its_centre() -> None:
    meaning = MeaningTable(SCENES, MASKS)(ROWS)
    for row, scene in enumerate(SCENES):
        for thing in scene.things:
            if thing.shape == "ring":
                continue
            y, x = int(thing.y_px / 8), int(thing.x_px / 8)
            assert meaning.inside[row, 0, y, x] > 0.9
            assert SHAPES[meaning.shape[row, y, x]] == thing.shape
            assert COLOUR_NAMES[meaning.colour[row, y, x]] == thing.colour
            assert TEXTURES[meaning.texture[row, y, x]] == thing.texture


def test_loss_is_lowest_for_maps_that_tell_the_truth() -> None:
    meaning = MeaningTable(SCENES, MASKS)(ROWS)
    logits = [
        10 * functional.one_hot(classes, count).permute(0, 3, 1, 2).float()
        for classes, count in (
            (meaning.shape, len(SHAPES)),
            (meaning.colour, len(COLOUR_NAMES)),
            (meaning.texture, len(TEXTURES)),
        )
    ]
    truth = torch.cat([meaning.rgb, 20 * meaning.inside - 10, *logits], 1)
    wrong_shape = truth.clone()
    wrong_shape[:, 4:10] = truth[:, 4:10].roll(1, 1)
    assert truth.shape[1] == MAP_CHANNELS
    assert meaning_loss(truth, meaning) < 0.3 < meaning_loss(wrong_shape, meaning)


def test_a_thumbnail_becomes_six_by_six_and_maps_come_back_at_full_side() -> None:
    with torch.no_grad():
        latents = LatentEncoder().eval()(torch.rand(2, 3, 96, 96))
        maps = MeaningDecoder()(latents)
        wide = LatentEncoder().eval().encode(torch.rand(1, 3, 256, 384))
        wide_maps = MeaningDecoder()(wide)
    assert latents.shape == (2, 16, 6, 6)
    assert maps.shape == (2, MAP_CHANNELS, 32, 32)
    assert wide.shape == (1, 16, 6, 9)
    assert wide_maps.shape == (1, MAP_CHANNELS, 32, 48)


def test_cells_with_a_thing_weigh_more_and_the_mean_weight_is_one() -> None:
    weights = thing_weights(torch.from_numpy(MASKS))
    cover = functional.adaptive_avg_pool2d(torch.from_numpy(MASKS).float().sum(1, True), 6)
    assert weights[cover == cover.max()].min() > weights[cover == 0].max()
    assert torch.isclose(weights.mean(), torch.tensor(1.0), atol=1e-4)
