"""What a stage may take of the memory of a GPU that it shares with other stages."""

from __future__ import annotations

import os
from typing import Any, Final

import torch

CONTEXT_BYTES: Final = 512 * 2**20
"""What a process takes of a GPU beside torch's allocator: CUDA's own context and kernels."""
_ALLOCATOR = "PYTORCH_ALLOC_CONF"


def prepare_gpu_memory(device: str, share: float | None, cuda: Any = torch.cuda) -> None:
    """Set up torch's allocator, before anything is on the GPU.

    Its blocks may grow, so that images of many sizes leave no holes; a ``PYTORCH_ALLOC_CONF`` of
    the operator's counts instead. A process with a share keeps to it: its cache does not crowd out
    the other stages, and it alone runs out of memory where the share is too small.

    Args:
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        share: of one GPU; None: the process may take all of it.
        cuda: stands in for :mod:`torch.cuda` in tests.
    """
    placed = torch.device(device)
    if placed.type != "cuda":
        return
    os.environ.setdefault(_ALLOCATOR, "expandable_segments:True")  # read at the first allocation
    if share is not None:
        total_bytes = cuda.get_device_properties(placed.index).total_memory
        without_context = share - CONTEXT_BYTES / total_bytes
        cuda.set_per_process_memory_fraction(max(without_context, share / 2), placed.index)
