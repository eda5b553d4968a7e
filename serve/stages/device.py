"""Sets up torch in the process of a replica; no other process of the service computes with it."""

from __future__ import annotations

import torch

from serve.settings import Settings
from serve.stages.gpu_memory import prepare_gpu_memory


def prepare_device(settings: Settings, gpu_share: float | None) -> str:
    """Set torch's threads and memory; returns the device to compute on.

    Args:
        settings: name the device and the number of threads.
        gpu_share: of one GPU's memory; None: all free memory.
    """
    torch.set_num_threads(settings.torch_threads)
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    prepare_gpu_memory(device, gpu_share)
    return device


def reserved_bytes(device: str) -> int | None:
    """Return the allocator's own count: it needs no answer from a device that may hang."""
    return torch.cuda.memory_reserved() if device.startswith("cuda") else None
