"""Copies from the CPU to the device of a model that nothing waits for."""

from __future__ import annotations

import torch


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a tensor of the CPU on a device; on the CPU it is the tensor itself.

    A CUDA device reads pinned memory by itself, after the work that it has. From other memory the
    copy would wait until all of that work is done.
    """
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
