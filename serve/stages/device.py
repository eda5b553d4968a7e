"""Sets up torch in the process of a replica; no other process of the service computes with it."""

from __future__ import annotations

import os
from typing import Final

import torch

from serve.settings import Settings
from serve.stages.gpu_memory import prepare_gpu_memory

_COMPILED_FOLDER: Final = "TORCHINDUCTOR_CACHE_DIR"


def prepare_device(settings: Settings, gpu_share: float | None) -> str:
    """Set torch's threads, memory and folders; returns the device to compute on.

    Args:
        settings: name the device, the number of threads and the data folder.
        gpu_share: of one GPU's memory; None: all free memory.
    """
    torch.set_num_threads(settings.torch_threads)
    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    prepare_gpu_memory(device, gpu_share)
    if settings.compile:
        # Later processes find there what this one compiles; torch would take a temporary folder.
        os.environ.setdefault(_COMPILED_FOLDER, str(settings.data_dir / "compiled"))
    return device


def reserved_bytes(device: str) -> int | None:
    """Return the allocator's own count: it needs no answer from a device that may hang."""
    return torch.cuda.memory_reserved() if device.startswith("cuda") else None
