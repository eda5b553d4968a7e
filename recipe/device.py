"""Arrays onto the device that the current step runs on."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def tensor_of(array: NDArray[Any]) -> Tensor:
    """Return an array as a tensor on torch's default device, which the command line sets."""
    return torch.from_numpy(array).to(torch.get_default_device())
