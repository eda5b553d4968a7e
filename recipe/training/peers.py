"""Several processes that train one module: `torchrun --nproc-per-node 2 -m recipe flow`.

Each works on examples of its own; their gradients are averaged, so all hold the same weights.
"""

import os

import torch
from torch import Tensor, distributed, nn


def join_peers() -> None:
    """Join the processes that torchrun started; without torchrun this is nothing."""
    if "RANK" in os.environ:
        distributed.init_process_group("gloo")


def own_number() -> int:
    """Return the number of this process, 0 if it is alone."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def average_gradients(module: nn.Module) -> None:
    """Replace the gradients by their mean over all processes."""
    if not distributed.is_initialized():
        return
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    joined = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(joined)
    joined /= distributed.get_world_size()
    parts = torch.split(joined, [gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def agree(value: float) -> float:
    """Return the largest value of all processes, so that they stop at the same step."""
    if not distributed.is_initialized():
        return value
    shared: Tensor = torch.tensor(value, dtype=torch.float64)
    distributed.all_reduce(shared, distributed.ReduceOp.MAX)
    return float(shared)
