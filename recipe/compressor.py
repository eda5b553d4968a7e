"""The compressor: a picture -> its Stage C latent, 16x6x6, which keeps what the picture means.

It is trained with a decoder that must tell shape, colour, texture, outline and mean colour back
from the latent under noise. The decoder is thrown away; Stage B learns to draw from the latent.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from recipe.data import load_chunks, load_whole, training_scene
from recipe.device import tensor_of
from recipe.render import accent_rgb, base_rgb
from recipe.scale import Scale
from recipe.scene import COLOUR_NAMES, SHAPES, TEXTURES, Scene
from recipe.train import Trainer, load_average

LATENT_CHANNELS: Final = 16
FREEZE_STATISTICS_AT: Final = 200
LATENT_NOISE: Final = 0.35
"""Most noise added to a latent in training, in standard deviations."""
MAP_SIDE: Final = 32
"""Side of the maps that the decoder paints for a 6x6 latent."""
ACCENT_SHARE: Final = {"plain": 0.0, "striped": 0.5, "dotted": 0.34, "checkered": 0.5}


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        """Normalise `channels` channels."""
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise."""
        normed: Tensor = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return normed


class Residual(nn.Module):
    """Depthwise convolution, then a two-layer perceptron per position, added to the input."""

    def __init__(self, channels: int, kernel: int = 3, growth: int = 3) -> None:
        """Build a block for `channels` channels."""
        super().__init__()
        self.spread = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.norm = nn.LayerNorm(channels)
        last = nn.Linear(channels * growth, channels)
        self.mix = nn.Sequential(nn.Linear(channels, channels * growth), nn.GELU(), last)
        # A quiet start keeps the sum of blocks near the identity.
        with torch.no_grad():
            last.weight.mul_(0.3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        mixed: Tensor = self.mix(self.norm(self.spread(x).permute(0, 2, 3, 1)))
        return x + mixed.permute(0, 3, 1, 2)


class Compressor(nn.Module):
    """Thumbnails (B, 3, 96, 96) in [0, 1] -> latents (B, 16, 6, 6), unit variance per channel."""

    def __init__(self) -> None:
        """Build the network."""
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 40, 6, stride=4, padding=1),
            ChannelNorm(40),
            Residual(40),
            nn.Conv2d(40, 80, 2, stride=2),
            ChannelNorm(80),
            Residual(80, 5),
            Residual(80, 5),
            nn.Conv2d(80, 144, 2, stride=2),
            ChannelNorm(144),
            Residual(144, 5),
            Residual(144, 5),
            ChannelNorm(144),
            nn.Conv2d(144, LATENT_CHANNELS, 1),
        )
        self.scale = nn.BatchNorm2d(LATENT_CHANNELS, affine=False, momentum=0.02)

    def forward(self, thumbnails_bchw: Tensor) -> Tensor:
        """Compress."""
        latents: Tensor = self.scale(self.net(thumbnails_bchw * 2 - 1))
        return latents


class MeaningDecoder(nn.Module):
    """Latents (B, 16, 6, 6) -> maps (B, channels, 32, 32) of what is where."""

    def __init__(self) -> None:
        """Build the network."""
        super().__init__()
        self.coarse = nn.Sequential(
            nn.Conv2d(LATENT_CHANNELS, 160, 1), Residual(160, 5, 2), Residual(160, 5, 2)
        )
        self.middle = nn.Sequential(nn.Conv2d(160, 96, 1), Residual(96, 5, 2), Residual(96, 5, 2))
        self.fine = nn.Sequential(
            Residual(96, 5, 2), ChannelNorm(96), nn.Conv2d(96, 4 * MAP_CHANNELS, 1)
        )

    def forward(self, latents_bchw: Tensor) -> Tensor:
        """Decode: 6 -> 8 -> 16 -> 32 positions a side."""
        coarse = self.coarse(latents_bchw)
        coarse = functional.interpolate(coarse, scale_factor=8 / 6, mode="bilinear")
        middle = functional.interpolate(self.middle(coarse), scale_factor=2.0, mode="bilinear")
        return functional.pixel_shuffle(self.fine(middle), 2)


class CompressorPair(nn.Module):
    """Compressor and meaning decoder, trained together."""

    def __init__(self) -> None:
        """Build both."""
        super().__init__()
        self.compressor = Compressor()
        self.decoder = MeaningDecoder()


_GROUPS: Final = [3, 1, len(SHAPES), len(COLOUR_NAMES), len(TEXTURES)]
MAP_CHANNELS: Final = sum(_GROUPS)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the decoder must paint: mean colour and, where a thing is, its classes.

    Shapes: rgb (B, 3, 32, 32) and inside (B, 1, 32, 32) in [0, 1]; the class maps
    (B, 32, 32) hold class numbers and count only where `inside` is high.
    """

    rgb: Tensor
    inside: Tensor
    shape: Tensor
    colour: Tensor
    texture: Tensor


class MeaningTable:
    """Scene attributes as arrays, to paint `Meaning` maps of any scenes quickly."""

    def __init__(self, scenes: list[Scene], masks: NDArray[np.uint8]) -> None:
        """Read the scenes; `masks` is uint8 (n, 2, 64, 64)."""
        self.masks = masks
        self.background = torch.tensor(np.stack([base_rgb(s.background) for s in scenes]))
        self.rgb = torch.zeros(len(scenes), 2, 3)
        self.classes = torch.zeros(3, len(scenes), 2, dtype=torch.long)
        for row, scene in enumerate(scenes):
            for slot, thing in enumerate(scene.things):
                base, share = base_rgb(thing.colour), ACCENT_SHARE[thing.texture]
                mean = base * (1 - share) + accent_rgb(base) * share
                self.rgb[row, slot] = tensor_of(mean)
                self.classes[0, row, slot] = SHAPES.index(thing.shape)
                self.classes[1, row, slot] = COLOUR_NAMES.index(thing.colour)
                self.classes[2, row, slot] = TEXTURES.index(thing.texture)

    def coverage(self, rows: NDArray[np.int64]) -> Tensor:
        """Return how much of each position each thing covers (B, 2, 64, 64)."""
        return tensor_of(self.masks[rows]).float() / 255

    def mean_colour(self, rows: NDArray[np.int64], masks: Tensor) -> tuple[Tensor, Tensor]:
        """Paint scenes in flat colours: rgb (B, 3, H, W) and inside (B, 1, H, W)."""
        inside = masks.sum(1, keepdim=True).clamp(max=1)
        things = torch.einsum("bkhw,bkc->bchw", masks, self.rgb[rows])
        return self.background[rows][:, :, None, None] * (1 - inside) + things, inside

    def __call__(self, rows: NDArray[np.int64]) -> Meaning:
        """Paint the maps of these scenes."""
        masks = functional.avg_pool2d(self.coverage(rows), 2)
        rgb, inside = self.mean_colour(rows, masks)
        owner = masks.argmax(1)
        picked = [
            torch.where(owner == 0, kind[rows, 0][:, None, None], kind[rows, 1][:, None, None])
            for kind in self.classes
        ]
        return Meaning(rgb, inside, *picked)


def flat_loss(rgb: Tensor, logits: Tensor, true_rgb: Tensor, inside: Tensor) -> Tensor:
    """Errors (B, 1, H, W) of mean colour and of outline, which count more at the outline."""
    grown = functional.max_pool2d(inside, 3, 1, 1)
    edge = grown + functional.max_pool2d(-inside, 3, 1, 1)
    colour = (rgb - true_rgb).square().mean(1, keepdim=True)
    outline = functional.binary_cross_entropy_with_logits(logits, inside, reduction="none")
    return (10 * colour + outline) * (1 + 2 * inside + 3 * edge)


def meaning_loss(maps: Tensor, meaning: Meaning) -> Tensor:
    """Colour and outline errors everywhere, class errors inside the things."""
    rgb, inside, *classes = torch.split(maps, _GROUPS, 1)
    flat_error = flat_loss(rgb, inside, meaning.rgb, meaning.inside).mean()
    targets = (meaning.shape, meaning.colour, meaning.texture)
    share = meaning.inside[:, 0] / meaning.inside.mean()
    class_errors = [
        (functional.cross_entropy(logits, target, reduction="none") * share).mean()
        for logits, target in zip(classes, targets, strict=True)
    ]
    return flat_error + 0.3 * sum(class_errors, torch.zeros(()))


def train_compressor(scale: Scale) -> None:
    """Train compressor and decoder together on thumbnails."""
    torch.manual_seed(0)
    pair = CompressorPair()
    thumbnails, masks = load_whole(scale, "thumbnails"), load_whole(scale, "masks")
    table = MeaningTable([training_scene(i) for i in range(len(masks))], masks)
    rng = np.random.default_rng(1)
    kept_back = min(500, len(masks) // 4)

    def loss_of_step(step: int, _fraction: float) -> Tensor:
        if step >= FREEZE_STATISTICS_AT:
            pair.compressor.scale.eval()
        rows = rng.integers(kept_back, len(masks), scale.compressor.batch)
        latents = pair.compressor(to_pixels(thumbnails[rows]))
        noise = LATENT_NOISE * torch.rand(len(latents), 1, 1, 1) * torch.randn_like(latents)
        # Keeps the latent near unit scale once its statistics are frozen.
        drift = functional.relu(latents.square().mean((0, 2, 3)) - 1.3).sum()
        return meaning_loss(pair.decoder(latents + noise), table(rows)) + 0.01 * drift

    def validate(_pair: nn.Module) -> str:
        pair.eval()
        rows = np.arange(kept_back)
        maps = pair.decoder(pair.compressor(to_pixels(thumbnails[rows])))
        pair.train()
        return summarise(maps, table(rows))

    Trainer(pair, scale.compressor, checkpoint_of(scale)).run(loss_of_step, validate)


def to_pixels(pictures: NDArray[np.uint8]) -> Tensor:
    """Turn uint8 (B, H, W, 3) into float32 (B, 3, H, W) in [0, 1]."""
    return tensor_of(pictures).permute(0, 3, 1, 2).float() / 255


def summarise(maps: Tensor, meaning: Meaning) -> str:
    """Say how much of the meaning the decoder reads back: outline overlap and class accuracy."""
    _, inside, *classes = torch.split(maps, _GROUPS, 1)
    found, true = inside[:, 0] > 0, meaning.inside[:, 0] > 0.5
    overlap = (found & true).sum() / (found | true).sum()
    right = [
        f"{(logits.argmax(1) == target)[true].float().mean():.3f}"
        for logits, target in zip(
            classes, (meaning.shape, meaning.colour, meaning.texture), strict=True
        )
    ]
    return f"outline IoU {overlap:.3f}, shape/colour/texture per pixel {' '.join(right)}"


def checkpoint_of(scale: Scale) -> Path:
    """Where training keeps its state."""
    return scale.work_dir / "compressor.pt"


def load_compressor(scale: Scale) -> Compressor:
    """Return the trained compressor, frozen."""
    pair = CompressorPair()
    load_average(pair, checkpoint_of(scale))
    return pair.compressor.requires_grad_(False)


def compress_all(scale: Scale) -> None:
    """Compress every training thumbnail into one float16 file of latents (n, 16, 6, 6)."""
    compressor = load_compressor(scale)
    parts = []
    for chunk in load_chunks(scale, "thumbnails"):
        for start in range(0, len(chunk), 250):
            with torch.no_grad():
                parts.append(compressor(to_pixels(np.array(chunk[start : start + 250]))).half())
    np.save(scale.work_dir / "compressed.npy", torch.cat(parts).cpu().numpy())
