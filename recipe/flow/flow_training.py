"""Trains the flow model on the shipped cascade's latent space, captions and text encoder.

At time t the net sees (1 - t) picture + t noise and answers noise - picture, the direction in which
the latent moves as t grows (rectified flow, Liu et al. 2022, arXiv:2209.03003).
"""

from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from recipe.device import tensor_of
from recipe.evaluation.evaluate import held_out_scenes, summary
from recipe.flow.flow_data import load_flow_data, load_shipped_stage_a
from recipe.flow.flow_net import TaughtFlow, predict, start_from_stage_b
from recipe.scale import MODEL_DIR, Scale
from recipe.scenes.captions import USUAL_SHARES, exact_caption
from recipe.training.continue_c import shipped_reader
from recipe.training.diffusion import CaptionReader
from recipe.training.meaning import MeaningTable, meaning_loss
from recipe.training.peers import own_number
from recipe.training.train import Trainer, load_average

TEXT_DROPOUT: Final = 0.1
THING_WEIGHT: Final = 2.0
"""How much more a position with a thing counts than one of plain background."""
MEANING_WEIGHT: Final = 0.2
LOGIT_MEAN: Final = 1.2
LOGIT_SPREAD: Final = 1.5
"""Of the logit of the times: a quarter is above 0.9, where the layout is decided."""
KEPT_BACK: Final = 64
DRAWN: Final = 24
STEPS: Final = 8
GUIDANCE: Final = 3.0
SHIFT: Final = 3.0
"""How the model is sampled; the shift puts more of the steps near pure noise."""


class FlowTeacher:
    """The loss of the flow model on encoded pictures and fresh captions of their scenes."""

    def __init__(self, scale: Scale, taught: TaughtFlow) -> None:
        """Open data and text encoder for a net that is to be trained."""
        self.taught = taught
        self.reader = shipped_reader(MODEL_DIR, f"flow {own_number()}", USUAL_SHARES)
        self.scenes, self.latents, masks = load_flow_data(scale)
        self.table = MeaningTable(self.scenes, masks)
        self.kept_back = min(KEPT_BACK, len(self.scenes) // 4)
        self.rng = np.random.default_rng([4, own_number()])

    def loss(self, count: int) -> Tensor:
        """Error on random scenes at random times."""
        rows = self.rng.integers(self.kept_back, len(self.scenes), count)
        times = torch.sigmoid(LOGIT_MEAN + LOGIT_SPREAD * torch.randn(count))
        error, meant = self.errors(rows, times, TEXT_DROPOUT)
        return error.mean() + MEANING_WEIGHT * meant

    def errors(
        self, rows: NDArray[np.int64], times: Tensor, dropout: float
    ) -> tuple[Tensor, Tensor]:
        """Errors of the direction (B,), and of the painted meaning as one number."""
        captions = self.reader.describe([self.scenes[i] for i in rows], dropout)
        clean = tensor_of(self.latents[rows]).float()
        noise, at = torch.randn_like(clean), times[:, None, None, None]
        noisy = (1 - at) * clean + at * noise
        direction, painted = self.taught(noisy, times, *self.reader.read(captions))
        near = functional.max_pool2d(self.table.coverage(rows).sum(1, keepdim=True), 5, 1, 2)
        weight = 1 + THING_WEIGHT * near.clamp(max=1)
        squared = (direction - (noise - clean)).square() * weight
        error = squared.mean((1, 2, 3)) / weight.mean()
        return error, meaning_loss(painted, self.table(rows))

    def report(self) -> str:
        """Describe the errors at some times, per time that of the direction and of the meaning."""
        rows, found = np.arange(self.kept_back), []
        for at in (1.0, 0.97, 0.9, 0.7, 0.4, 0.1):
            error, meant = self.errors(rows, torch.full((len(rows),), at), 0)
            found.append(f"{at}: {error.mean():.4f} ({meant:.3f})")
        return "error (meaning) at " + ", ".join(found)


def train_flow(scale: Scale) -> None:
    """Train the flow model from the weights of the shipped Stage B."""
    torch.manual_seed(0)
    taught = TaughtFlow()
    start_from_stage_b(taught.net, MODEL_DIR / "decoder" / "diffusion_pytorch_model.safetensors")
    teacher, stage_a = FlowTeacher(scale, taught), load_shipped_stage_a()
    torch.manual_seed(own_number())
    scenes = held_out_scenes("flow training", min(DRAWN, scale.evaluated))

    def validate(_taught: nn.Module) -> str:
        captions = [exact_caption(scene) for scene in scenes]
        latents = draw_latents(taught, teacher.reader, captions)
        pictures = [to_picture(stage_a, latent) for latent in latents]
        return f"{teacher.report()}; drawn: {summary(pictures, scenes)}"

    Trainer(taught, scale.flow, checkpoint_of(scale)).run(
        lambda _step, _fraction: teacher.loss(scale.flow.batch), validate
    )


@torch.no_grad()
def draw_latents(taught: TaughtFlow, reader: CaptionReader, captions: list[str]) -> Tensor:
    """Draw captions by Euler steps with guidance; returns latents (n, 4, 64, 64)."""
    hidden, pooled = reader.read([*captions, *[""] * len(captions)])
    noise = torch.Generator().manual_seed(1)
    latents = torch.randn(len(captions), 4, 64, 64, generator=noise)
    linear = torch.linspace(1, 0, STEPS + 1)
    times = SHIFT * linear / (1 + (SHIFT - 1) * linear)
    for now, following in pairwise(times):
        twice = torch.cat([latents, latents])
        answer = predict(taught.net, twice, now.expand(len(twice)), hidden, pooled)
        asked, free = answer.chunk(2)
        latents = latents + (following - now) * torch.lerp(free, asked, GUIDANCE)
    return latents


@torch.no_grad()
def to_picture(stage_a: Any, latent_chw: Tensor) -> NDArray[np.uint8]:
    """Decode one latent (4, h, w) to (4h, 4w, 3)."""
    scaled = (latent_chw[None] * stage_a.config.scale_factor).contiguous(
        memory_format=torch.channels_last
    )
    rgb = stage_a.decode(scaled).sample[0].clamp(0, 1)
    picture: NDArray[np.uint8] = (rgb.permute(1, 2, 0) * 255 + 0.5).byte().numpy()
    return picture


def checkpoint_of(scale: Scale) -> Path:
    """Where training keeps its state."""
    return scale.work_dir / "flow.pt"


def load_flow(scale: Scale) -> TaughtFlow:
    """Return the trained flow model, with its head."""
    taught = TaughtFlow()
    load_average(taught, checkpoint_of(scale))
    return taught
