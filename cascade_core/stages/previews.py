"""Draws Stage C's predicted latent as a small picture before Stage B has run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from cascade_core.checkpoints.layout import read_json
from cascade_core.errors import ModelUnavailable
from cascade_core.handoff import StageCLatent
from cascade_core.images.pixels import Rgb
from cascade_core.stages.tensors import from_handoff, to_preview

Previewer = Callable[[torch.Tensor], torch.Tensor]
"""Turns a (1, 16, h, w) latent into (3, H, W) RGB, about 0 to 1."""

_CHANNELS = (512, 256, 128, 128)


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
def preview_of(latent: StageCLatent, previewer: Previewer, device: torch.device) -> Rgb:
    """Return the preview of a finished Stage C latent.

    Args:
        latent: of the model that the previewer belongs to.
        previewer: what :func:`load_previewer` returned.
        device: where the previewer is.
    """
    rgb_chw = previewer(from_handoff(latent.latents_chw, device, torch.float32)[None])
    return to_preview(rgb_chw, latent.request.height, latent.request.width)


def load_previewer(path: Path | None, device: torch.device) -> Previewer | None:
    """Load the previewer of a model: ``*.safetensors`` or ``preview.json``; None for no path.

    Raises:
        ModelUnavailable: the file is not what it should be.
    """
    if path is None:
        return None
    if path.suffix == ".json":
        return _load_linear(path, device)
    previewer = PublishedPreviewer()
    try:
        previewer.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise ModelUnavailable(f"{path} is no Stable Cascade previewer") from error
    return previewer.to(device).eval().requires_grad_(False)


def _load_linear(path: Path, device: torch.device) -> LinearPreviewer:
    body = read_json(path).get("stage_c_to_rgb", {})
    try:
        weight = torch.tensor(body["weight"], dtype=torch.float32, device=device)
        bias = torch.tensor(body["bias"], dtype=torch.float32, device=device)
    except (TypeError, KeyError, ValueError) as error:
        raise ModelUnavailable(f"{path} needs stage_c_to_rgb with weight and bias") from error
    if weight.ndim != 2 or weight.shape[0] != 3 or bias.shape != (3,):
        raise ModelUnavailable(f"{path}: weight must be 3 rows and bias 3 numbers")
    return LinearPreviewer(weight, bias)
