"""Draws the predicted latents of Stages C and B as small pictures, without Stage A."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.nn import functional

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.checkpoints.layout import read_json
from cascade_core.checkpoints.weights import load_vqgan_decoder
from cascade_core.errors import ModelUnavailable
from cascade_core.handoff import StageCLatent, WuerstchenLatent
from cascade_core.images.pixels import Rgb
from cascade_core.models.paella import PaellaDecoder
from cascade_core.stages.tensors import from_handoff, to_preview

Previewer = Callable[[torch.Tensor], torch.Tensor]
"""Turns a (1, c, h, w) latent into (3, H, W) RGB, about 0 to 1."""

_CHANNELS = (512, 256, 128, 128)
_FITTED_CELLS, _SMOOTH_OVER = 8, 8


class LinearPreviewer:
    """One matrix from latent channels to RGB, fitted by least squares.

    Args:
        weight: (3, channels).
        bias: (3,).
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        self._weight = weight
        self._bias = bias

    def __call__(self, latents_bchw: torch.Tensor) -> torch.Tensor:
        """Map every cell to a pixel."""
        latents = latents_bchw[0].float()
        return torch.einsum("rc,chw->rhw", self._weight, latents) + self._bias.view(3, 1, 1)


class PublishedPreviewer(torch.nn.Module):
    """The network of ``previewer.safetensors``: 8 px per latent cell.

    Source: modules/previewer.py, Stability-AI/StableCascade 7a7d341.
    """

    def __init__(self, latent_channels: int = 16) -> None:
        super().__init__()
        first, second, third, fourth = _CHANNELS
        layers: list[torch.nn.Module] = []
        for layer in (
            torch.nn.Conv2d(latent_channels, first, 1),
            torch.nn.Conv2d(first, first, 3, padding=1),
            torch.nn.ConvTranspose2d(first, second, 2, stride=2),
            torch.nn.Conv2d(second, second, 3, padding=1),
            torch.nn.ConvTranspose2d(second, third, 2, stride=2),
            torch.nn.Conv2d(third, third, 3, padding=1),
            torch.nn.ConvTranspose2d(third, fourth, 2, stride=2),
            torch.nn.Conv2d(fourth, fourth, 3, padding=1),
        ):
            layers += [layer, torch.nn.GELU(), torch.nn.BatchNorm2d(layer.out_channels)]
        layers.append(torch.nn.Conv2d(fourth, 3, 1))
        self.blocks = torch.nn.Sequential(*layers)

    def forward(self, latents_bchw: torch.Tensor) -> torch.Tensor:
        """Draw the picture."""
        rgb_chw: torch.Tensor = self.blocks(latents_bchw.float())[0]
        return rgb_chw


@torch.inference_mode()
def preview_of(
    latent: StageCLatent | WuerstchenLatent, previewer: Previewer, device: torch.device
) -> Rgb:
    """Return the preview of a finished Stage C latent.

    Args:
        latent: of the model that the previewer belongs to.
        previewer: what :func:`load_previewer` returned.
        device: where the previewer is.
    """
    rgb_chw = previewer(from_handoff(latent.latents_chw, device, torch.float32)[None])
    return to_preview(rgb_chw, latent.request.height, latent.request.width)


def load_previewer(path: Path | None, channels: int, device: torch.device) -> Previewer | None:
    """Load Stage C's previewer: ``*.safetensors`` or ``preview.json``; None for no path.

    Args:
        path: of the file.
        channels: of the latent.
        device: where to.

    Raises:
        ModelUnavailable: the file is not what it should be.
    """
    if path is None:
        return None
    if path.suffix == ".json":
        return _load_linear(path, "stage_c_to_rgb", channels, device)
    previewer = PublishedPreviewer(channels)
    try:
        previewer.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise ModelUnavailable(f"{path} is no Stable Cascade previewer") from error
    return previewer.to(device).eval().requires_grad_(False)


def load_stage_b_previewer(
    checkpoint: Checkpoint, channels: int, device: torch.device, dtype: torch.dtype
) -> LinearPreviewer:
    """Load Stage B's previewer from ``preview.json``, or fit it to Stage A, which is then freed.

    Args:
        checkpoint: where from; its ``preview.json`` may lie beside a previewer of Stage C alone.
        channels: of the latent.
        device: where to.
        dtype: of Stage A's weights.

    Raises:
        ModelUnavailable: files are missing or wrong.
    """
    name = "stage_b_to_rgb"
    if checkpoint.previewer is not None:
        path = checkpoint.previewer
        path = path if path.suffix == ".json" else path.with_name("preview.json")
        if path.is_file() and name in read_json(path):
            return _load_linear(path, name, channels, device)
    return fit_previewer(load_vqgan_decoder(checkpoint, device, dtype))


@torch.inference_mode()
def fit_previewer(stage_a: PaellaDecoder) -> LinearPreviewer:
    """Fit a linear map to Stage A's pictures of smooth noise; equal weights give an equal map."""
    # Latents have about unit variance. Their cells resemble their neighbours, hence the smoothing.
    shape_bchw = (1, stage_a.config.latent_channels, _FITTED_CELLS, _FITTED_CELLS)
    noise = torch.randn(shape_bchw, generator=torch.Generator().manual_seed(0))
    latents = functional.interpolate(noise, scale_factor=_SMOOTH_OVER, mode="bicubic")
    decoded = stage_a(latents.to(stage_a.device, stage_a.dtype))
    rgb_bchw = torch.nan_to_num(decoded.float().cpu()).clamp(0, 1)
    weight, bias = fit_linear(latents, rgb_bchw)
    return LinearPreviewer(weight.to(stage_a.device), bias.to(stage_a.device))


def fit_linear(
    latents_bchw: torch.Tensor, rgb_bchw: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fit the map from a latent's cell to the mean colour of its part of the picture.

    Args:
        latents_bchw: on the CPU.
        rgb_bchw: the pictures, at least as large as the latents.

    Returns:
        weight (3, c) and bias (3,), float32.
    """
    cells_hw = latents_bchw.shape[2], latents_bchw.shape[3]
    colours = functional.adaptive_avg_pool2d(rgb_bchw, cells_hw)
    cells, targets = (
        tensor.double().permute(0, 2, 3, 1).flatten(end_dim=2) for tensor in (latents_bchw, colours)
    )
    inputs = torch.cat([cells, torch.ones(len(cells), 1, dtype=cells.dtype)], 1)
    fitted = torch.linalg.lstsq(inputs, targets).solution.float()
    return fitted[:-1].T.contiguous(), fitted[-1]


def _load_linear(path: Path, name: str, channels: int, device: torch.device) -> LinearPreviewer:
    body = read_json(path).get(name, {})
    try:
        weight = torch.tensor(body["weight"], dtype=torch.float32, device=device)
        bias = torch.tensor(body["bias"], dtype=torch.float32, device=device)
    except (TypeError, KeyError, ValueError, OverflowError, RuntimeError) as error:
        raise ModelUnavailable(f"{path} needs {name} with weight and bias") from error
    if weight.shape != (3, channels) or bias.shape != (3,):
        raise ModelUnavailable(
            f"{path}: the weight of {name} must be 3 rows of {channels} numbers, one for each "
            "channel of the latent, and its bias 3 numbers"
        )
    return LinearPreviewer(weight, bias)
