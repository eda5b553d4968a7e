"""Limits a stage's share of the memory of a GPU that it shares with other stages."""

from __future__ import annotations

import os
from typing import Any, Final

import torch

CONTEXT_BYTES: Final = 512 * 2**20
"""Memory that a process takes beside torch's allocator: CUDA's own context and kernels."""
_ALLOCATOR = "PYTORCH_ALLOC_CONF"


def prepare_gpu_memory(device: str, share: float | None, cuda: Any = torch.cuda) -> None:
    """Set up torch's allocator, before anything is on the GPU.

    Its blocks may grow, so that images of many sizes leave no holes; an operator's
    ``PYTORCH_ALLOC_CONF`` overrides that. A process with a share stays within it: its cache leaves
    the other stages their memory, and only this process runs out of memory if the share is too
    small.

    Args:
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        share: of one GPU; None: the process may take the whole GPU.
        cuda: :mod:`torch.cuda`; tests give another.
    """
    placed = torch.device(device)
    if placed.type != "cuda":
        return
    os.environ.setdefault(_ALLOCATOR, "expandable_segments:True")  # read at the first allocation
    if share is not None:
        total_bytes = cuda.get_device_properties(placed.index).total_memory
        without_context = share - CONTEXT_BYTES / total_bytes
        cuda.set_per_process_memory_fraction(max(without_context, share / 2), placed.index)
