"""Stage B: the compressor's latent and pooled text -> Stage A's latent, 4x64x64."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import StableCascadeUNet
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from recipe.compressor import ChannelNorm, MeaningTable, flat_loss
from recipe.data import load_chunks, load_whole, training_scene
from recipe.device import tensor_of
from recipe.diffusion import CaptionReader, add_noise, alpha_bar, loss_weight, sample_times
from recipe.scale import Scale
from recipe.scene import Scene
from recipe.train import Trainer, load_average
from recipe.unets import build_stage_b

TEXT_DROPOUT = 0.1
LATENT_DROPOUT = 0.03
LATENT_NOISE = 0.3
"""Most noise on the conditioning latent, so that Stage C's errors do not surprise Stage B."""
FOCUS = (0.4, 0.85)
"""Times at which textures form; the layout is given by the condition."""
THING_WEIGHT = 3.0
LATENT_SIDE = 64
TOKEN = 4
"""Latents a side that Stage B handles as one position: its patch size."""
CROP = 32
CROP_SHARE = 0.6
CROP_UNTIL = 0.9
"""Part of the budget after which only whole pictures are used."""


Taught = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class Example:
    """A batch: clean latents, conditioning latents, flat colours with coverage, scenes."""

    clean: Tensor
    condition: Tensor
    flat: Tensor
    scenes: list[Scene]

    @property
    def weight(self) -> Tensor:
        """Loss weights (B, 1, H, W): more on and around the things."""
        return 1 + THING_WEIGHT * functional.max_pool2d(self.flat[:, 3:], 5, 1, 2)


class TaughtStageB(nn.Module):
    """Stage B with a head, used in training only, that paints the scene in flat colours.

    The noise target alone teaches outlines slowly, because random texture and grain drown them;
    the flat scene is known exactly, so the head gives Stage B's last features a clear teacher.
    """

    def __init__(self) -> None:
        """Build the net and its head."""
        super().__init__()
        self.net = build_stage_b()
        width = self.net.config.block_out_channels[0]
        self.paint = nn.Sequential(
            ChannelNorm(width), nn.Conv2d(width, 4 * TOKEN**2, 1), nn.PixelShuffle(TOKEN)
        )

    def forward(self, noisy: Tensor, times: Tensor, example: Example, pooled: Tensor) -> Taught:
        """Return predicted noise (B, 4, H, W) and flat colours with outline logits (B, 4, H, W)."""
        features: list[Tensor] = []
        hook = self.net.clf.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
        noise = self.net(noisy, times, clip_text_pooled=pooled, effnet=example.condition).sample
        hook.remove()
        return noise, self.paint(features[0])


class ExampleSampler:
    """Draws batches from the encoded training pictures."""

    def __init__(self, scale: Scale) -> None:
        """Open the encoded data."""
        self.latents = np.concatenate(load_chunks(scale, "latents"))
        self.condition = tensor_of(np.load(scale.work_dir / "compressed.npy")).float()
        self.scenes = [training_scene(i) for i in range(len(self.latents))]
        self.table = MeaningTable(self.scenes, load_whole(scale, "masks"))
        self.kept_back = min(32, len(self.scenes) // 4)
        self.rng = np.random.default_rng(3)

    def draw(self, count: int) -> Example:
        """Draw training examples."""
        return self.pick(self.rng.integers(self.kept_back, len(self.scenes), count))

    def pick(self, rows: NDArray[np.int64]) -> Example:
        """Return the examples with these numbers."""
        flat = self.table.mean_colour(rows, self.table.coverage(rows))
        return Example(
            clean=tensor_of(self.latents[rows]).float(),
            condition=self.condition[rows],
            flat=torch.cat(flat, 1),
            scenes=[self.scenes[i] for i in rows],
        )

    def crop_to_things(self, example: Example) -> Example:
        """Cut a window of `CROP` latents a side around a thing of each scene."""
        tokens = functional.interpolate(
            example.condition, size=(LATENT_SIDE // TOKEN,) * 2, mode="bilinear", align_corners=True
        )
        corners = [self._corner(scene) for scene in example.scenes]
        return Example(
            clean=_windows(example.clean, corners, CROP, TOKEN),
            # At its own size the U-Net's resizing of the condition changes nothing.
            condition=_windows(tokens, corners, CROP // TOKEN, 1),
            flat=_windows(example.flat, corners, CROP, TOKEN),
            scenes=example.scenes,
        )

    def _corner(self, scene: Scene) -> tuple[int, int]:
        """Top left of a window in Stage B tokens."""
        thing = scene.things[self.rng.integers(len(scene.things))]
        centre = np.array([thing.y_px, thing.x_px]) / 4 + self.rng.normal(0, 4, 2)
        free = (LATENT_SIDE - CROP) // TOKEN
        y, x = np.clip(np.round((centre - CROP / 2) / TOKEN), 0, free).astype(int)
        return int(y), int(x)


def _windows(maps: Tensor, corners: list[tuple[int, int]], side: int, step: int) -> Tensor:
    cut = [
        one[:, y * step : y * step + side, x * step : x * step + side]
        for one, (y, x) in zip(maps, corners, strict=True)
    ]
    return torch.stack(cut)


def train_stage_b(scale: Scale) -> None:
    """Train Stage B on whole pictures and on windows around the things."""
    torch.manual_seed(0)
    taught = TaughtStageB()
    reader = CaptionReader(scale, "stage b")
    sampler = ExampleSampler(scale)

    def errors(example: Example, times: Tensor, dropout: float) -> tuple[Tensor, Tensor]:
        _, pooled = reader.read(reader.describe(example.scenes, dropout))
        noise = torch.randn_like(example.clean)
        output, painted = taught(add_noise(example.clean, noise, times), times, example, pooled)
        weighted = ((output - noise).square() * example.weight).mean((1, 2, 3))
        flat = flat_loss(*torch.split(painted, [3, 1], 1), *torch.split(example.flat, [3, 1], 1))
        return weighted / example.weight.mean(), flat.mean((1, 2, 3))

    def loss_of_step(_step: int, fraction: float) -> Tensor:
        is_crop = fraction < CROP_UNTIL and sampler.rng.random() < CROP_SHARE
        example = sampler.draw(scale.stage_b.batch * (3 if is_crop else 1))
        example = disturb(sampler.crop_to_things(example) if is_crop else example)
        times = sample_times(len(example.clean), FOCUS)
        error, flat = errors(example, times, TEXT_DROPOUT)
        # Late in sampling the outline can be read off the input, which teaches nothing.
        return (error * loss_weight(times) + flat * (1 - alpha_bar(times))).mean()

    def validate(_taught: nn.Module) -> str:
        example = sampler.pick(np.arange(sampler.kept_back))
        found = []
        for at in (1.0, 0.9, 0.7, 0.5, 0.3, 0.1):
            error, flat = errors(example, torch.full((len(example.clean),), at), 0)
            found.append(f"{at}: {error.mean():.4f} ({flat.mean():.3f})")
        return "noise error (flat error) at " + ", ".join(found)

    Trainer(taught, scale.stage_b, checkpoint_of(scale)).run(loss_of_step, validate)


def disturb(example: Example) -> Example:
    """Add noise to the conditioning latents and drop a few."""
    count = len(example.condition)
    size = LATENT_NOISE * torch.rand(count, 1, 1, 1)
    noisy = example.condition + size * torch.randn_like(example.condition)
    kept = (torch.rand(count, 1, 1, 1) > LATENT_DROPOUT).float()
    return Example(example.clean, noisy * kept, example.flat, example.scenes)


def checkpoint_of(scale: Scale) -> Path:
    """Where training keeps its state."""
    return scale.work_dir / "stage_b.pt"


def load_stage_b(scale: Scale) -> StableCascadeUNet:
    """Return the trained Stage B, without its head."""
    taught = TaughtStageB()
    load_average(taught, checkpoint_of(scale))
    return taught.net
