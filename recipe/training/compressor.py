"""The compressor: a picture -> its Stage C latent, 16x6x6, which keeps the picture's meaning.

It starts with a decoder that must read shape, colour, texture, outline and mean colour from
the latent under noise, and goes on together with Stage B (`recipe.training.joint`). The decoder is
dropped; the compressor is the published `LatentEncoder`.
"""

from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from cascade_core.conditioning.latent_encoder import LatentEncoder
from cascade_core.models.latent_encoder import ChannelNorm, Residual
from recipe.device import mixed_precision, to_pixels
from recipe.scale import Scale
from recipe.scenes.data import Group, GroupPicker, load_groups
from recipe.training.meaning import MAP_CHANNELS, MeaningTable, meaning_loss, summarise
from recipe.training.train import Trainer

LATENT_CHANNELS: Final = 16
FREEZE_STATISTICS_AT: Final = 200
LATENT_NOISE: Final = 0.35
"""Most noise added to a latent in training, in standard deviations."""
KEPT_BACK: Final = 500


class MeaningDecoder(nn.Module):
    """Latents (B, 16, h, w) -> maps (B, channels, 16h/3, 16w/3) of the things in the scene."""

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


class MeaningTeacher:
    """The loss of reading the meaning of scenes from their latents."""

    def __init__(self, groups: list[Group]) -> None:
        """Read thumbnails and scenes of every group."""
        self.thumbnails = [group.array("thumbnails") for group in groups]
        self.tables = [MeaningTable(group.scenes, group.array("masks")) for group in groups]

    def latents(self, encoder: nn.Module, group: int, rows: NDArray[np.int64]) -> Tensor:
        """Encode these scenes' thumbnails."""
        latents: Tensor = encoder(to_pixels(self.thumbnails[group][rows]))
        return latents.float()

    def loss(
        self, decoder: nn.Module, latents: Tensor, group: int, rows: NDArray[np.int64]
    ) -> Tensor:
        """Return the decoder's error on noisy latents, plus that of the latents' scale."""
        noise = LATENT_NOISE * torch.rand(len(latents), 1, 1, 1) * torch.randn_like(latents)
        # Keeps the latent near unit scale once its statistics are frozen.
        drift = functional.relu(latents.square().mean((0, 2, 3)) - 1.3).sum()
        maps = decoder(latents + noise).float()
        return meaning_loss(maps, self.tables[group](rows)) + 0.01 * drift

    def report(self, pair: "CompressorPair", kept_back: int) -> str:
        """Describe what the decoder reads from scenes that training does not use."""
        rows = np.arange(kept_back)
        pair.eval()
        maps = pair.decoder(self.latents(pair.compressor, 0, rows))
        pair.train()
        return summarise(maps, self.tables[0](rows))


class CompressorPair(nn.Module):
    """Compressor and meaning decoder, trained together."""

    def __init__(self) -> None:
        """Build both."""
        super().__init__()
        self.compressor = LatentEncoder(latent_channels=LATENT_CHANNELS)
        self.decoder = MeaningDecoder()


def train_compressor(scale: Scale) -> None:
    """Train compressor and decoder together on thumbnails."""
    torch.manual_seed(0)
    pair = CompressorPair()
    groups = load_groups(scale)
    teacher = MeaningTeacher(groups)
    picker = GroupPicker([len(group.scenes) for group in groups], KEPT_BACK, seed=1)

    def loss_of_step(step: int, _fraction: float) -> Tensor:
        if step >= FREEZE_STATISTICS_AT:
            pair.compressor.scale.eval()
        group, rows = picker(scale.compressor.batch)
        with mixed_precision():
            latents = teacher.latents(pair.compressor, group, rows)
            return teacher.loss(pair.decoder, latents, group, rows)

    Trainer(pair, scale.compressor, checkpoint_of(scale)).run(
        loss_of_step, lambda _: teacher.report(pair, picker.kept_back[0])
    )


def checkpoint_of(scale: Scale) -> Path:
    """Where training keeps its state."""
    return scale.work_dir / "compressor.pt"
