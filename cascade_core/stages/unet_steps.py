"""The steps of a stage that has a U-Net, and what its warm-up does to make them fast."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import torch

from cascade_core.models.compiled import check_compiler, compile_blocks
from cascade_core.models.unet import CascadeUnet
from cascade_core.operations.fields import MIN_SIDE_PX
from cascade_core.sampling.sampler import Predict, SamplerRow, advance
from cascade_core.sampling.step_tables import Unet
from cascade_core.stages.base import Preparation
from cascade_core.stages.cuda_step import CudaStep, launch
from cascade_core.stages.step_graphs import StepGraphs, recorders

logger = logging.getLogger(__name__)

COMPILED_SIZE: Final = (MIN_SIDE_PX * 3 // 2, MIN_SIDE_PX)
"""In pixels. Of a square picture torch would learn that both sides are equal, and it would compile
again for others."""


class UnetSteps:
    """Runs the steps of one stage.

    Args:
        unet: of the stage.
    """

    def __init__(self, unet: Unet) -> None:
        self._unet = unet
        self._preparation = Preparation()
        self._graphs: StepGraphs | None = None

    def prepare(self, preparation: Preparation) -> None:
        """Set what :meth:`warm_up` does.

        Only our own U-Net can be compiled or recorded as CUDA graphs; others run as they are.

        Raises:
            SettingsInvalid: no compiler is there, or graphs are asked of a CPU.
        """
        unet = self._unet
        if not isinstance(unet, CascadeUnet):
            self._preparation = replace(preparation, compiles=False, graph_bytes=0)
            if preparation != self._preparation:
                logger.warning("%s is neither compiled nor recorded", type(unet).__name__)
            return
        self._preparation = preparation
        if preparation.graph_bytes:
            self._graphs = StepGraphs(unet, recorders(unet.device), preparation.graph_bytes)
        if preparation.compiles:
            check_compiler(unet.device.type)
            compile_blocks(unet)

    @torch.inference_mode()
    def warm_up(self, admit: Callable[[int, int], SamplerRow]) -> None:
        """Do what was prepared; without a preparation this is nothing.

        Args:
            admit: returns a new row of a picture of this width and height in pixels.
        """
        if self._preparation.compiles:
            self._run(admit(*COMPILED_SIZE), 2)
        for width, height in self._preparation.sizes:
            row = admit(width, height)
            most = self._preparation.max_rows * (1 if row.uncond is None else 2)
            self._run(row, most)
            if self._graphs is not None:
                rows = self._graphs.record(row, most)
                logger.info("%dx%d px: steps of %s U-Net rows are recorded", width, height, rows)

    def advance(self, rows: Sequence[SamplerRow]) -> CudaStep | None:
        """Do one step of every row; on CUDA it goes on after the return."""
        predict: Predict = self._unet if self._graphs is None else self._graphs
        return launch(partial(advance, predict, rows), self._unet.device)

    def _run(self, row: SamplerRow, most: int) -> None:
        """Run the U-Net on rows like one, once for each number of rows."""
        for rows in range(most, 0, -1):
            latents, times = row.latents_bchw, row.table.times_st[:1]
            self._unet(torch.cat([latents] * rows), torch.cat([times] * rows), [row.cond] * rows)
