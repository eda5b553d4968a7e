"""Stage B: the compressor's latent and pooled text -> Stage A's latent, 4x64x64."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import StableCascadeUNet
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from cascade_core.models.latent_encoder import ChannelNorm
from recipe.device import mixed_precision, suit_device, tensor_of
from recipe.scale import Budget, Scale
from recipe.scenes.data import Group, GroupPicker, load_groups
from recipe.scenes.scene import TEXTURES, Scene
from recipe.training.diffusion import (
    add_noise,
    alpha_bar,
    loss_weight,
    sample_times,
    trained_reader,
)
from recipe.training.meaning import MeaningTable, flat_loss
from recipe.training.train import Trainer, load_average, load_state
from recipe.training.unets import build_stage_b

TEXT_DROPOUT = 0.1
LATENT_DROPOUT = 0.03
LATENT_NOISE = 0.3
"""Most noise on the conditioning latent, so that Stage C's errors do not surprise Stage B."""
FOCUS = (0.4, 0.85)
"""Times at which textures form; the layout is given by the condition."""
THING_WEIGHT = 3.0
TEXTURE_WEIGHT = 2.0
TOKEN = 4
"""Latents a side that Stage B handles as one position: its patch size."""
CROP = 32
CROP_SHARE = 0.6
CROP_UNTIL = 0.9
"""Part of the budget after which only whole pictures are used."""
KEPT_BACK = 32


Taught = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class Example:
    """A batch: clean latents, conditioning latents, scenes and what they show.

    `flat` holds flat colours and coverage (B, 4, H, W), `texture` the class of each position.
    """

    clean: Tensor
    condition: Tensor
    flat: Tensor
    texture: Tensor
    scenes: list[Scene]

    @property
    def weight(self) -> Tensor:
        """Loss weights (B, 1, H, W): more on and around the things."""
        return 1 + THING_WEIGHT * functional.max_pool2d(self.flat[:, 3:], 5, 1, 2)


class TaughtStageB(nn.Module):
    """Stage B with a head, used in training only, that paints the scene in flat colours.

    The noise target alone teaches outlines and kinds of texture slowly, because grain and phases
    drown them; the flat scene is known exactly, so the head is a clear teacher of Stage B's last
    features. It paints RGB, an outline logit and logits of the textures.
    """

    def __init__(self) -> None:
        """Build the net and its head."""
        super().__init__()
        self.net = build_stage_b()
        suit_device(self.net)
        width = self.net.config.block_out_channels[0]
        self.paint = nn.Sequential(
            ChannelNorm(width),
            nn.Conv2d(width, (4 + len(TEXTURES)) * TOKEN**2, 1),
            nn.PixelShuffle(TOKEN),
        )

    def forward(self, noisy: Tensor, times: Tensor, example: Example, pooled: Tensor) -> Taught:
        """Return predicted noise (B, 4, H, W) and the painted scene (B, 8, H, W)."""
        features: list[Tensor] = []
        hook = self.net.clf.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
        noise = self.net(noisy, times, clip_text_pooled=pooled, effnet=example.condition).sample
        hook.remove()
        return noise, self.paint(features[0])


class ExampleSampler:
    """Draws batches from the encoded training pictures; all pictures of a batch share a canvas."""

    def __init__(self, scale: Scale, conditions: list[Tensor] | None) -> None:
        """Open the encoded data; without `conditions` examples come with empty ones."""
        self.groups: list[Group] = load_groups(scale)
        self.latents = [group.array("latents") for group in self.groups]
        self.tables = [MeaningTable(g.scenes, g.array("masks")) for g in self.groups]
        self.conditions = conditions
        self.picker = GroupPicker([len(group.scenes) for group in self.groups], KEPT_BACK, seed=3)

    def pick(self, group: int, rows: NDArray[np.int64]) -> Example:
        """Return the examples with these numbers."""
        table, scenes = self.tables[group], self.groups[group].scenes
        masks = table.coverage(rows)
        flat = table.mean_colour(rows, masks)
        return Example(
            clean=tensor_of(self.latents[group][rows]).float(),
            condition=self.conditions[group][rows] if self.conditions else torch.empty(0),
            flat=torch.cat(flat, 1),
            texture=table.class_maps(rows, masks)[2],
            scenes=[scenes[i] for i in rows],
        )

    def crop_to_things(self, example: Example) -> Example:
        """Cut a window of `CROP` latents a side around a thing of each scene."""
        height, width = example.clean.shape[2:]
        tokens = functional.interpolate(
            example.condition,
            size=(height // TOKEN, width // TOKEN),
            mode="bilinear",
            align_corners=True,
        )
        corners = [self._corner(scene) for scene in example.scenes]
        return Example(
            clean=_windows(example.clean, corners, CROP, TOKEN),
            # At its own size the U-Net's resizing of the condition changes nothing.
            condition=_windows(tokens, corners, CROP // TOKEN, 1),
            flat=_windows(example.flat, corners, CROP, TOKEN),
            texture=_windows(example.texture[:, None], corners, CROP, TOKEN)[:, 0],
            scenes=example.scenes,
        )

    def _corner(self, scene: Scene) -> tuple[int, int]:
        """Top left of a window in Stage B tokens."""
        rng = self.picker.rng
        thing = scene.things[rng.integers(len(scene.things))]
        centre = np.array([thing.y_px, thing.x_px]) / 4 + rng.normal(0, 4, 2)
        free = (np.array([scene.height_px, scene.width_px]) // 4 - CROP) // TOKEN
        # An even number keeps the phase of the coarser level, and so that of the patterns.
        y, x = np.clip(np.round((centre - CROP / 2) / TOKEN / 2) * 2, 0, free).astype(int)
        return int(y), int(x)


def _windows(maps: Tensor, corners: list[tuple[int, int]], side: int, step: int) -> Tensor:
    cut = [
        one[:, y * step : y * step + side, x * step : x * step + side]
        for one, (y, x) in zip(maps, corners, strict=True)
    ]
    return torch.stack(cut)


class StageBTeacher:
    """The loss of Stage B on whole pictures and on windows around the things."""

    def __init__(
        self, scale: Scale, taught: TaughtStageB, conditions: list[Tensor] | None = None
    ) -> None:
        """Open data and text encoder for a net that is to be trained."""
        self.taught = taught
        self.reader = trained_reader(scale, "stage b")
        self.sampler = ExampleSampler(scale, conditions)

    def loss(self, example: Example, *, as_windows: bool) -> Tensor:
        """Error on examples at random times."""
        example = disturb(self.sampler.crop_to_things(example) if as_windows else example)
        times = sample_times(len(example.clean), FOCUS)
        error, flat = self.errors(example, times, TEXT_DROPOUT)
        # Late in sampling the outline can be read off the input, which teaches nothing.
        return (error * loss_weight(times) + flat * (1 - alpha_bar(times))).mean()

    def errors(self, example: Example, times: Tensor, dropout: float) -> tuple[Tensor, Tensor]:
        """Errors (B,) of the predicted noise and of the flat scene."""
        _, pooled = self.reader.read(self.reader.describe(example.scenes, dropout))
        noise = torch.randn_like(example.clean)
        with mixed_precision():
            noisy = add_noise(example.clean, noise, times)
            output, painted = self.taught(noisy, times, example, pooled)
        weighted = ((output.float() - noise).square() * example.weight).mean((1, 2, 3))
        rgb, inside, textures = torch.split(painted.float(), [3, 1, len(TEXTURES)], 1)
        true_rgb, true_inside = torch.split(example.flat, [3, 1], 1)
        flat = flat_loss(rgb, inside, true_rgb, true_inside)
        texture = functional.cross_entropy(textures, example.texture, reduction="none")
        flat = flat + TEXTURE_WEIGHT * texture[:, None] * true_inside
        return weighted / example.weight.mean(), flat.mean((1, 2, 3))

    def wants_windows(self, fraction: float) -> bool:
        """Return True if this step should use windows."""
        return fraction < CROP_UNTIL and self.sampler.picker.rng.random() < CROP_SHARE

    def report(self, example: Example) -> str:
        """Describe how large the errors are at some times."""
        found = []
        for at in (1.0, 0.9, 0.7, 0.5, 0.3, 0.1):
            error, flat = self.errors(example, torch.full((len(example.clean),), at), 0)
            found.append(f"{at}: {error.mean():.4f} ({flat.mean():.3f})")
        return "noise error (flat error) at " + ", ".join(found)


def examples_per_step(budget: Budget, *, as_windows: bool) -> int:
    """A window is a quarter of a picture, so more of them fit into a step."""
    return budget.batch * (3 if as_windows else 1)


def train_stage_b(scale: Scale) -> None:
    """Go on from the joint training, with the compressor as it is now."""
    torch.manual_seed(0)
    taught = TaughtStageB()
    load_joint_start(taught, scale)
    conditions = [tensor_of(g.array("compressed")).float() for g in load_groups(scale)]
    teacher = StageBTeacher(scale, taught, conditions)
    sampler = teacher.sampler

    def loss_of_step(_step: int, fraction: float) -> Tensor:
        as_windows = teacher.wants_windows(fraction)
        group, rows = sampler.picker(examples_per_step(scale.stage_b, as_windows=as_windows))
        return teacher.loss(sampler.pick(group, rows), as_windows=as_windows)

    kept_back = sampler.pick(0, np.arange(sampler.picker.kept_back[0]))
    Trainer(taught, scale.stage_b, checkpoint_of(scale)).run(
        loss_of_step, lambda _: teacher.report(kept_back)
    )


def load_joint_start(taught: TaughtStageB, scale: Scale) -> None:
    """Put the weights of the joint training into a net that is to be trained on."""
    prefix = "taught."
    weights = load_state(scale.work_dir / "joint.pt")["module"]
    taught.load_state_dict(
        {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    )


def disturb(example: Example) -> Example:
    """Add noise to the conditioning latents and drop a few."""
    count = len(example.condition)
    size = LATENT_NOISE * torch.rand(count, 1, 1, 1)
    noisy = example.condition + size * torch.randn_like(example.condition)
    kept = (torch.rand(count, 1, 1, 1) > LATENT_DROPOUT).float()
    return replace(example, condition=noisy * kept)


def checkpoint_of(scale: Scale) -> Path:
    """Where training keeps its state."""
    return scale.work_dir / "stage_b.pt"


def load_stage_b(scale: Scale) -> StableCascadeUNet:
    """Return the trained Stage B, without its head."""
    taught = TaughtStageB()
    load_average(taught, checkpoint_of(scale))
    return taught.net
