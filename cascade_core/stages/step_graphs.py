"""Steps of a U-Net recorded as CUDA graphs: one launch in place of thousands.

A graph reads and writes memory of its own. So a step copies its rows there, replays the graph and
copies the prediction. Steps of shapes that were not recorded run as without graphs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from cascade_core.errors import SettingsInvalid
from cascade_core.models.unet import CascadeUnet, HeldConditioning, join_rows
from cascade_core.sampling.sampler import SamplerRow


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A device's work that can be done again.

    Attributes:
        replay: does it again, after the work that the device has.
        output: where its result is then, until the next replay.
    """

    replay: Callable[[], None]
    output: Tensor


class Recorder(Protocol):
    """Makes recordings that share their memory."""

    def record(self, work: Callable[[], Tensor]) -> Recording:
        """Record work that the device has done before; its inputs stay where they are."""

    def used_bytes(self) -> int:
        """Return the memory that this process has of the device."""


class CudaRecorder:
    """Records CUDA graphs; see :class:`Recorder`.

    Args:
        device: a CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # A replay reads nothing that another one left, so all may write over the same memory.
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, work: Callable[[], Tensor]) -> Recording:
        """Record the work as one graph."""
        graph = torch.cuda.CUDAGraph()
        # Of this thread alone: others may draw previews meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            output = work()
        return Recording(graph.replay, output)

    def used_bytes(self) -> int:
        """Return what torch's allocator has; the driver's own memory of a graph is not in it."""
        torch.cuda.empty_cache()
        return torch.cuda.memory_reserved(self._device)


def recorders(device: torch.device) -> Callable[[], Recorder]:
    """Return what makes a recorder for a device.

    Raises:
        SettingsInvalid: it records nothing.
    """
    if device.type != "cuda":
        raise SettingsInvalid(f"CUDA graphs need a GPU, and the stage computes on {device.type}")
    return partial(CudaRecorder, device)


class StepGraphs:
    """Predicts as a U-Net does, by a recording where there is one.

    Args:
        unet: its steps are recorded.
        make_recorder: called once or more for each size of pictures.
        limit_bytes: of all recordings and their inputs; a recording that exceeds it is dropped.
    """

    def __init__(
        self, unet: CascadeUnet, make_recorder: Callable[[], Recorder], limit_bytes: int
    ) -> None:
        self._unet = unet
        self._make_recorder = make_recorder
        self._left_bytes = limit_bytes
        self._recorded: dict[tuple[torch.Size, ...], tuple[tuple[Tensor, ...], Recording]] = {}

    def __call__(self, latents_bchw: Tensor, times_bt: Tensor, held: Any) -> Tensor:
        """Return the predicted noise; see :meth:`cascade_core.models.unet.CascadeUnet.forward`."""
        given = (latents_bchw, times_bt, *join_rows(held))
        if (recorded := self._recorded.get(_shapes(given))) is None:
            return self._unet.predict(*given)
        inputs, recording = recorded
        for place, tensor in zip(inputs, given, strict=True):
            place.copy_(tensor)
        recording.replay()
        # A copy, as rows keep their predictions and the next replay writes over this one.
        return recording.output.clone()

    def record(self, row: SamplerRow, most: int) -> list[int]:
        """Record steps of rows like one, for all numbers of rows that the memory allows.

        Args:
            row: whose steps the U-Net has done before, in all of these numbers.
            most: rows of the U-Net; a guided picture has two.

        Returns:
            The numbers of rows that were recorded.
        """
        recorder = self._make_recorder()
        numbers: list[int] = []
        before_bytes = recorder.used_bytes()
        inputs: tuple[Tensor, ...] = ()
        # The largest first: the memory that it takes is enough for the others.
        for rows in range(most, 0, -1):
            if not numbers:  # torch refuses memory that only dropped recordings shared
                recorder = self._make_recorder()
            inputs = tuple(tensor[:rows] for tensor in inputs) or _inputs(row, rows)
            recording = recorder.record(partial(self._unet.predict, *inputs))
            if recorder.used_bytes() - before_bytes <= self._left_bytes:
                self._recorded[_shapes(inputs)] = inputs, recording
                numbers.append(rows)
            else:
                inputs = ()
            del recording
        self._left_bytes -= recorder.used_bytes() - before_bytes
        return numbers


def _inputs(row: SamplerRow, rows: int) -> tuple[Tensor, ...]:
    """Return the inputs of a step of rows that are all like one."""
    held: HeldConditioning = row.cond
    one = (row.latents_bchw, row.table.times_st[:1], *join_rows([held]))
    return tuple(torch.cat([tensor] * rows) for tensor in one)


def _shapes(tensors: tuple[Tensor, ...]) -> tuple[torch.Size, ...]:
    return tuple(tensor.shape for tensor in tensors)
