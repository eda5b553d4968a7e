"""Compressor and Stage B together: the latent learns to keep what Stage B needs for drawing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cascade_core.conditioning.latent_encoder import LatentEncoder
from recipe.device import mixed_precision, to_pixels
from recipe.scale import Scale
from recipe.scenes.data import load_chunks, load_groups
from recipe.training.compressor import CompressorPair, MeaningTeacher
from recipe.training.compressor import checkpoint_of as compressor_checkpoint
from recipe.training.stage_b import StageBTeacher, TaughtStageB, examples_per_step
from recipe.training.train import Trainer, load_average


class Joint(nn.Module):
    """Compressor with its meaning decoder, and Stage B with its head."""

    def __init__(self) -> None:
        """Build all four."""
        super().__init__()
        self.pair = CompressorPair()
        self.taught = TaughtStageB()


def train_joint(scale: Scale) -> None:
    """Train Stage B from the start, and the compressor on through Stage B's errors."""
    torch.manual_seed(0)
    joint = Joint()
    load_average(joint.pair, compressor_checkpoint(scale))
    joint.pair.train()
    joint.pair.compressor.scale.eval()
    meaning = MeaningTeacher(load_groups(scale))
    teacher = StageBTeacher(scale, joint.taught)
    sampler = teacher.sampler

    def loss_of_step(_step: int, _fraction: float) -> Tensor:
        as_windows = teacher.wants_windows(0)
        group, rows = sampler.picker(examples_per_step(scale.joint, as_windows=as_windows))
        with mixed_precision():
            latents = meaning.latents(joint.pair.compressor, group, rows)
            told = meaning.loss(joint.pair.decoder, latents, group, rows)
        example = replace(sampler.pick(group, rows), condition=latents)
        return teacher.loss(example, as_windows=as_windows) + told

    def validate(_joint: nn.Module) -> str:
        rows = np.arange(sampler.picker.kept_back[0])
        latents = meaning.latents(joint.pair.compressor, 0, rows)
        example = replace(sampler.pick(0, rows), condition=latents)
        read = meaning.report(joint.pair, 500)
        joint.pair.compressor.scale.eval()
        return f"{teacher.report(example)}; {read}"

    Trainer(joint, scale.joint, checkpoint_of(scale)).run(loss_of_step, validate)


def checkpoint_of(scale: Scale) -> Path:
    """Where training keeps its state."""
    return scale.work_dir / "joint.pt"


def load_compressor(scale: Scale) -> LatentEncoder:
    """Return the trained compressor, frozen."""
    joint = Joint()
    load_average(joint, checkpoint_of(scale))
    compressor: LatentEncoder = joint.pair.compressor.requires_grad_(False)
    return compressor


def compress_all(scale: Scale) -> None:
    """Compress every training thumbnail into float16 latents (n, 16, h, w), chunk by chunk."""
    compressor = load_compressor(scale)
    for number, chunk in enumerate(load_chunks(scale, "thumbnails")):
        with torch.no_grad():
            latents = compressor(to_pixels(np.array(chunk))).half()
        np.save(scale.work_dir / "data" / f"compressed-{number:03d}.npy", latents.cpu().numpy())
