"""Stage C: text -> the compressor's latent, predicted noise on 16x6x6."""

from pathlib import Path

import numpy as np
import torch
from diffusers import StableCascadeUNet
from torch import Tensor, nn
from torch.nn import functional

from recipe.data import load_whole, training_scene
from recipe.device import tensor_of
from recipe.diffusion import CaptionReader, add_noise, loss_weight, sample_times
from recipe.scale import Scale
from recipe.text_encoder import WIDTH as TEXT_WIDTH
from recipe.train import Trainer, load_average
from recipe.unets import build_stage_c

TEXT_DROPOUT = 0.1
FOCUS = (0.7, 1.0)
"""Times at which the layout of the picture is decided."""
THING_WEIGHT = 4.0
"""How much more a cell with a thing counts than a cell of plain background."""


def train_stage_c(scale: Scale) -> None:
    """Train Stage C on the compressed pictures and fresh captions of their scenes."""
    torch.manual_seed(0)
    net = build_stage_c()
    reader = CaptionReader(scale, "stage c")
    latents = tensor_of(np.load(scale.work_dir / "compressed.npy")).float()
    weights = thing_weights(tensor_of(load_whole(scale, "masks")))
    scenes = [training_scene(i) for i in range(len(latents))]
    rng = np.random.default_rng(2)
    kept_back = min(192, len(latents) // 4)

    def errors(rows: list[int], times: Tensor, dropout: float) -> Tensor:
        hidden, pooled = reader.read(reader.describe([scenes[i] for i in rows], dropout))
        noise = torch.randn_like(latents[rows])
        output = net(
            add_noise(latents[rows], noise, times),
            times,
            clip_text=hidden,
            clip_text_pooled=pooled,
            clip_img=torch.zeros(len(rows), 1, TEXT_WIDTH),
        ).sample
        squared: Tensor = (output - noise).square()
        return squared

    def loss_of_step(_step: int, _fraction: float) -> Tensor:
        rows = rng.integers(kept_back, len(latents), scale.stage_c.batch).tolist()
        times = sample_times(len(rows), FOCUS)
        error = (errors(rows, times, TEXT_DROPOUT) * weights[rows]).mean((1, 2, 3))
        return (error * loss_weight(times)).mean()

    def validate(_net: nn.Module) -> str:
        rows = list(range(kept_back))
        found = [
            f"{at}: {errors(rows, torch.full((kept_back,), at), 0).mean():.4f}"
            for at in (1.0, 0.9, 0.7, 0.5, 0.3, 0.1)
        ]
        return "noise error at " + ", ".join(found)

    Trainer(net, scale.stage_c, checkpoint_of(scale)).run(loss_of_step, validate)


def thing_weights(masks: Tensor) -> Tensor:
    """Weights (n, 1, 6, 6) with mean one from coverage masks uint8 (n, 2, 64, 64)."""
    weights = []
    for chunk in torch.split(masks, 1000):
        cover = functional.adaptive_avg_pool2d(chunk.float().sum(1, keepdim=True) / 255, 6)
        weights.append(1 + THING_WEIGHT * (4 * cover).clamp(max=1))
    whole = torch.cat(weights)
    return whole / whole.mean()


def checkpoint_of(scale: Scale) -> Path:
    """Where training keeps its state."""
    return scale.work_dir / "stage_c.pt"


def load_stage_c(scale: Scale) -> StableCascadeUNet:
    """Return the trained Stage C."""
    return load_average(build_stage_c(), checkpoint_of(scale))
