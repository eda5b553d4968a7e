"""Stage C: text -> the compressor's latent, predicted noise on 16x6x6."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import StableCascadeUNet
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from recipe.device import mixed_precision, suit_device, tensor_of
from recipe.scale import Scale
from recipe.scenes.data import GroupPicker, load_groups
from recipe.scenes.scene import Scene
from recipe.training.diffusion import (
    CaptionReader,
    add_noise,
    loss_weight,
    sample_times,
    trained_reader,
)
from recipe.training.text_encoder import WIDTH as TEXT_WIDTH
from recipe.training.train import Trainer, load_average
from recipe.training.unets import build_stage_c

TEXT_DROPOUT = 0.1
FOCUS = (0.7, 1.0)
"""Times at which the layout of the picture is decided."""
THING_WEIGHT = 4.0
"""How much more a cell with a thing counts than a cell of plain background."""
KEPT_BACK = 192


@dataclass(frozen=True, slots=True)
class Examples:
    """Scenes of one canvas: Stage C latents (n, 16, h, w) and loss weights (n, 1, h, w)."""

    scenes: list[Scene]
    latents: Tensor
    weights: Tensor


class StageCTeacher:
    """The loss of Stage C on compressed pictures and fresh captions of their scenes."""

    def __init__(self, net: nn.Module, reader: CaptionReader, groups: list[Examples]) -> None:
        """Take a net that is to be trained, the text encoder and the examples of each canvas."""
        self.net = net
        self.reader = reader
        self.groups = groups
        self.picker = GroupPicker([len(group.scenes) for group in groups], KEPT_BACK, seed=2)

    def errors(self, group: int, rows: NDArray[np.int64], times: Tensor, dropout: float) -> Tensor:
        """Squared errors (B, 16, h, w) of the predicted noise at times (B,)."""
        examples = self.groups[group]
        captions = self.reader.describe([examples.scenes[i] for i in rows], dropout)
        hidden, pooled = self.reader.read(captions)
        latents = examples.latents[rows]
        noise = torch.randn_like(latents)
        with mixed_precision():
            output = self.net(
                add_noise(latents, noise, times),
                times,
                clip_text=hidden,
                clip_text_pooled=pooled,
                clip_img=torch.zeros(len(rows), 1, TEXT_WIDTH),
            ).sample
        squared: Tensor = (output.float() - noise).square()
        return squared

    def loss(self, count: int) -> Tensor:
        """Error on random scenes at random times; cells with things count more."""
        group, rows = self.picker(count)
        times = sample_times(count, FOCUS)
        squared = self.errors(group, rows, times, TEXT_DROPOUT) * self.groups[group].weights[rows]
        return (squared.mean((1, 2, 3)) * loss_weight(times)).mean()

    def report(self) -> str:
        """Describe how large the error is at some times, per group."""
        lines = []
        for group, kept_back in enumerate(self.picker.kept_back):
            rows = np.arange(kept_back)
            found = [
                f"{at}: {self.errors(group, rows, torch.full((kept_back,), at), 0).mean():.4f}"
                for at in (1.0, 0.9, 0.7, 0.5, 0.3, 0.1)
            ]
            lines.append("noise error at " + ", ".join(found))
        return "; ".join(lines)


def train_stage_c(scale: Scale) -> None:
    """Train Stage C."""
    torch.manual_seed(0)
    net = build_stage_c()
    suit_device(net)
    teacher = StageCTeacher(net, trained_reader(scale, "stage c"), load_examples(scale))
    Trainer(net, scale.stage_c, checkpoint_of(scale)).run(
        lambda _step, _fraction: teacher.loss(scale.stage_c.batch), lambda _: teacher.report()
    )


def load_examples(scale: Scale) -> list[Examples]:
    """Read the training set: scenes, compressed pictures and the loss weights of their cells."""
    return [
        Examples(
            group.scenes,
            tensor_of(group.array("compressed")).float(),
            thing_weights(tensor_of(group.array("masks"))),
        )
        for group in load_groups(scale)
    ]


def thing_weights(masks: Tensor) -> Tensor:
    """Weights (n, 1, h, w) with mean one from coverage masks uint8 (n, 2, 32h/3, 32w/3)."""
    weights = []
    height, width = (side * 3 // 32 for side in masks.shape[2:])
    for chunk in torch.split(masks, 1000):
        cover = functional.adaptive_avg_pool2d(
            chunk.float().sum(1, keepdim=True) / 255, (height, width)
        )
        weights.append(1 + THING_WEIGHT * (4 * cover).clamp(max=1))
    whole = torch.cat(weights)
    return whole / whole.mean()


def checkpoint_of(scale: Scale) -> Path:
    """Where training keeps its state."""
    return scale.work_dir / "stage_c.pt"


def load_stage_c(scale: Scale) -> StableCascadeUNet:
    """Return the trained Stage C."""
    return load_average(build_stage_c(), checkpoint_of(scale))
