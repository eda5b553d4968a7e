from __future__ import annotations

from typing import Any

import torch

from cascade_core.device_copy import to_device


class NotedTensor:
    """Stands for a tensor where there is no CUDA device, and notes what is done with it."""

    def __init__(self) -> None:
        self.story: list[Any] = []

    def pin_memory(self) -> NotedTensor:
        self.story.append("pinned")
        return self

    def to(self, device: torch.device, *, non_blocking: bool) -> NotedTensor:
        self.story.append((device.type, non_blocking))
        return self


def test_a_copy_to_cuda_comes_from_pinned_memory_and_nothing_waits_for_it() -> None:
    tensor: Any = NotedTensor()
    to_device(tensor, torch.device("cuda"))
    assert tensor.story == ["pinned", ("cuda", True)]


def test_on_the_cpu_a_tensor_is_not_copied() -> None:
    tensor = torch.arange(3)
    assert to_device(tensor, torch.device("cpu")) is tensor


def test_another_device_gets_a_copy() -> None:
    assert to_device(torch.arange(3), torch.device("meta")).device.type == "meta"
