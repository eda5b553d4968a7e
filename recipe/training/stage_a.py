"""Stage A: a small PaellaVQModel, 256x256 pixels <-> 4x64x64 latents."""

from pathlib import Path

import numpy as np
import torch
from diffusers.pipelines.deprecated.wuerstchen.modeling_paella_vq_model import PaellaVQModel
from torch import Tensor, nn

from recipe.device import tensor_of
from recipe.scale import Scale
from recipe.scenes.data import load_chunks
from recipe.training.train import Trainer, load_average

CROP_PX = 64
CODES = 512
FREEZE_STATISTICS_AT = 150
QUANTISE_FROM = 250
REVIVE_EVERY = 1000


def build_stage_a(scale_factor: float = 1.0) -> PaellaVQModel:
    """Return an untrained Stage A with open residual branches."""
    model = PaellaVQModel(
        up_down_scale_factor=2,
        levels=2,
        bottleneck_blocks=2,
        embed_dim=64,
        latent_channels=4,
        num_vq_embeddings=CODES,
        scale_factor=scale_factor,
    )
    for name, parameter in model.named_parameters():
        if name.endswith("gammas"):
            # The stock initial weights close this branch, which costs the first few hundred steps.
            parameter.data[2] = parameter.data[5] = 0.3
    return model


class CropSampler:
    """Random square crops of the training pictures."""

    def __init__(self, scale: Scale) -> None:
        """Open the pictures."""
        self.chunks = load_chunks(scale, "pictures")
        self.rng = np.random.default_rng(0)

    def __call__(self, count: int, side_px: int = CROP_PX) -> Tensor:
        """Return float32 (count, 3, side, side) in [0, 1]."""
        crops = np.empty((count, side_px, side_px, 3), np.uint8)
        for row in range(count):
            chunk = self.chunks[self.rng.integers(len(self.chunks))]
            picture = chunk[self.rng.integers(len(chunk))]
            y, x = self.rng.integers(0, np.array(picture.shape[:2]) - side_px + 1)
            crops[row] = picture[y : y + side_px, x : x + side_px]
        return tensor_of(crops).permute(0, 3, 1, 2).float() / 255


def reconstruction_loss(output: Tensor, target: Tensor) -> Tensor:
    """Absolute and squared error plus the error of horizontal and vertical differences."""
    error = output - target
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + 4 * error.square().mean() + 0.3 * edges


def train_stage_a(scale: Scale) -> None:
    """Train Stage A; its decoder sees raw, quantised and noisy latents alike."""
    torch.manual_seed(0)
    model = build_stage_a()
    crops = CropSampler(scale)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]

    def latents_of(count: int) -> Tensor:
        with torch.no_grad():
            latents: Tensor = model.encode(crops(count, 2 * CROP_PX)).latents
        return latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])

    def loss_of_step(step: int, _fraction: float) -> Tensor:
        if step >= FREEZE_STATISTICS_AT:
            # Batch statistics of small batches would hide absolute colour from the decoder.
            for norm in norms:
                norm.eval()
        pixels = crops(scale.stage_a.batch)
        latents = model.encode(pixels).latents
        if step < QUANTISE_FROM:
            return reconstruction_loss(model.decode(latents).sample, pixels)
        if step == QUANTISE_FROM or step % REVIVE_EVERY == 0:
            revive_codes(model, latents_of(32), every=step == QUANTISE_FROM)
        quantised, commitment, _ = model.vquantizer(latents)
        pick = torch.rand(len(latents), 1, 1, 1)
        noisy = latents + 0.1 * latents.detach().std() * torch.randn_like(latents)
        mixed = torch.where(pick < 0.25, quantised, torch.where(pick < 0.6, latents, noisy))
        loss: Tensor = reconstruction_loss(model.decode(mixed).sample, pixels) + 0.25 * commitment
        return loss

    Trainer(model, scale.stage_a, checkpoint_of(scale)).run(loss_of_step)


@torch.no_grad()
def revive_codes(model: PaellaVQModel, latents: Tensor, *, every: bool) -> None:
    """Move unused codes (or every one) onto latents (N, 4) seen in the data."""
    codes: Tensor = model.vquantizer.embedding.weight.data
    nearest = torch.cdist(latents, codes).argmin(1)
    is_idle = torch.bincount(nearest, minlength=CODES) == 0
    if every:
        is_idle[:] = True
    codes[is_idle] = latents[torch.randperm(len(latents))[: int(is_idle.sum())]]


def checkpoint_of(scale: Scale) -> Path:
    """Where training keeps its state."""
    return scale.work_dir / "stage_a.pt"


def load_stage_a(scale: Scale) -> PaellaVQModel:
    """Return the trained Stage A; latents divided by its `scale_factor` have unit variance."""
    model = build_stage_a()
    load_average(model, checkpoint_of(scale))
    with torch.no_grad():
        spread = float(model.encode(CropSampler(scale)(64, 128)).latents.std())
    model.register_to_config(scale_factor=spread)
    return model.requires_grad_(False)


def encode_latents(scale: Scale) -> None:
    """Encode all training pictures into scaled float16 latents (n, 4, h/4, w/4), chunk by chunk."""
    model = load_stage_a(scale).to(memory_format=torch.channels_last)
    for number, chunk in enumerate(load_chunks(scale, "pictures")):
        target = scale.work_dir / "data" / f"latents-{number:03d}.npy"
        if target.exists():
            continue
        height, width = (side // 4 for side in chunk.shape[1:3])
        latents = np.empty((len(chunk), 4, height, width), np.float16)
        # One at a time and channels last: several times faster on a CPU than batches.
        for row, picture in enumerate(chunk):
            pixels = tensor_of(np.array(picture)[None]).permute(0, 3, 1, 2).float() / 255
            with torch.no_grad():
                encoded = model.encode(pixels.contiguous(memory_format=torch.channels_last))
            latents[row] = (encoded.latents[0] / model.config.scale_factor).cpu().numpy()
        np.save(target, latents)
        print(f"latents of chunk {number}", flush=True)
