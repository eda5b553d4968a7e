"""Hand-off arrays to torch tensors and back, with the checks that every stage makes on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
import torch

from cascade_core.device_copy import to_device
from cascade_core.errors import HandoffInvalid, ModelMismatch, NonFiniteLatent
from cascade_core.handoff import ModelRef, Tensor
from cascade_core.images.pixels import Rgb

PREVIEW_LONG_SIDE_PX = 192
_NAMES = {
    torch.float32: "float32",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
    torch.int64: "int64",
}


def to_handoff(tensor: torch.Tensor) -> Tensor:
    """Copy a tensor into a hand-off, bit for bit."""
    own = tensor.detach().cpu().contiguous()
    name = _NAMES[own.dtype]
    if own.dtype == torch.bfloat16:
        return Tensor(name, own.view(torch.int16).numpy().view(np.uint16).copy())
    return Tensor(name, own.numpy().copy())


def named_tensors(values: Mapping[str, object]) -> dict[str, Tensor]:
    """Copy what a stage hands off into tensors, bit for bit.

    Raises:
        HandoffInvalid: a value is no tensor, or one of a dtype that no hand-off holds.
    """
    for name, value in values.items():
        if not isinstance(value, torch.Tensor) or value.dtype not in _NAMES:
            kind = value.dtype if isinstance(value, torch.Tensor) else type(value).__name__
            raise HandoffInvalid(f"{name} is {kind}: only tensors can be handed off")
    return {name: to_handoff(cast(torch.Tensor, value)) for name, value in values.items()}


def from_handoff(tensor: Tensor, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Copy a hand-off's array to a device; exact if ``dtype`` is its own."""
    # A copy: arrays decoded from bytes are read-only, which torch cannot express.
    array = tensor.array.copy()
    if tensor.dtype == "bfloat16":
        own = torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    else:
        own = torch.from_numpy(array)
    return to_device(own.to(dtype), device)


def to_pixels(rgb_chw: torch.Tensor) -> Rgb:
    """Round (3, H, W) values, 0 to 1 with anything beyond cut off, to (H, W, 3) uint8.

    Source: VaeImageProcessor.numpy_to_pil, diffusers 0.42.1.
    """
    rgb_hwc = torch.nan_to_num(rgb_chw.float()).clamp(0, 1).permute(1, 2, 0)
    pixels: Rgb = (rgb_hwc * 255).round().to(torch.uint8).cpu().numpy()
    return pixels


def preview_hw(height_px: int, width_px: int) -> tuple[int, int]:
    """Return the (height, width) in pixels of every preview of an image of this size."""
    scale = PREVIEW_LONG_SIDE_PX / max(height_px, width_px)
    return round(height_px * scale), round(width_px * scale)


def to_preview(rgb_chw: torch.Tensor, height_px: int, width_px: int) -> Rgb:
    """Turn a small (3, h, w) picture into the preview of an image of a size in pixels.

    Stages C and B both call this, so that all previews of an image have one size and the image's
    own aspect, unlike the rounded sides of a latent.
    """
    in_range = torch.nan_to_num(rgb_chw.float()).clamp(0, 1)[None]
    size_hw = preview_hw(height_px, width_px)
    resized = torch.nn.functional.interpolate(in_range, size_hw, mode="bilinear", antialias=True)
    return to_pixels(resized[0])


def check_origin(made_by: ModelRef, loaded: ModelRef) -> None:
    """Check that a latent fits the loaded weights.

    Raises:
        ModelMismatch: other weights made it.
    """
    if made_by.fingerprint != loaded.fingerprint:
        raise ModelMismatch(
            f"the latent was made by {made_by.id} {made_by.revision}, the loaded model is "
            f"{loaded.id} {loaded.revision}"
        )


def check_finite(tensor: torch.Tensor, stage: str) -> None:
    """Check a stage's result.

    Raises:
        NonFiniteLatent: it holds NaN or infinity.
    """
    if not bool(torch.isfinite(tensor).all()):
        raise NonFiniteLatent(
            f"Stage {stage} answered NaN or infinity: check its weights and dtype"
        )
