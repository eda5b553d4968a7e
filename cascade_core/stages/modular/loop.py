"""Rows of a modular pipeline's loop, and the steps of that loop."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from cascade_core.errors import Unsupported
from cascade_core.request import GenerationRequest
from cascade_core.stages.cuda_step import CudaStep, launch
from cascade_core.stages.modular.blocks import LOOP_STATE, Division
from cascade_core.stages.tensors import check_finite


@dataclass(slots=True, eq=False, kw_only=True)
class LoopRow:
    """One image inside a loop.

    Attributes:
        request: of the image.
        components: the pipeline's, with a scheduler and a guider of the row's own: both change
            with each step.
        state: of the pipeline before the loop.
        loop_state: of the loop; it holds the latents.
        generator: of the row's noise.
        step: steps done.
        steps: steps in all.
    """

    request: GenerationRequest
    components: Any
    state: Any
    loop_state: Any
    generator: torch.Generator
    steps: int
    step: int = 0

    @property
    def bucket(self) -> tuple[int, ...]:
        """The shape of its latents."""
        return tuple(self.loop_state.latents.shape[1:])


class ModularLoop:
    """A pipeline that is divided at its loop.

    Args:
        division: of its blocks.
        pipeline: of the blocks up to the loop, with all components.
        device: where it computes.
    """

    def __init__(self, division: Division, pipeline: Any, device: torch.device) -> None:
        self._division = division
        self._pipeline = pipeline
        self._taken = frozenset(division.until_loop.input_names)
        self._device = device

    @torch.no_grad()
    def begin(
        self, request: GenerationRequest, seed: int, guidance_scale: float, **inputs: Any
    ) -> LoopRow:
        """Encode the texts, draw the noise, and stop before the first step.

        Args:
            request: of one image.
            seed: of the noise, which is drawn on the CPU.
            guidance_scale: 1 or less: no guidance.
            inputs: of the pipeline; those that it does not take are left out.

        Raises:
            Unsupported: the scheduler has no times for so few steps.
        """
        components = self._own_components(guidance_scale)
        generator = torch.Generator("cpu").manual_seed(seed)
        given = {
            "prompt": request.prompt,
            "negative_prompt": request.negative_prompt or None,
            "height": request.height,
            "width": request.width,
            "generator": generator,
            **inputs,
        }
        state = components(**{name: given[name] for name in given.keys() & self._taken})
        loop_state = state.values.pop(LOOP_STATE)
        if not bool(torch.isfinite(loop_state.timesteps.float()).all()):
            raise Unsupported("this model needs more than one step", "steps")
        return LoopRow(
            request=request,
            components=components,
            state=state,
            loop_state=loop_state,
            generator=generator,
            steps=len(loop_state.timesteps),
        )

    def latents_shape(self, height_px: int, width_px: int) -> tuple[int, int, int, int]:
        """Return (1, c, h, w) of the latents of an image, for pipelines that do not pack them."""
        pipeline = self._pipeline
        scale = pipeline.vae_scale_factor
        return 1, pipeline.num_channels_latents, height_px // scale, width_px // scale

    def advance(self, rows: Sequence[LoopRow]) -> CudaStep | None:
        """Do one step of each row, one after the other: their states cannot be joined.

        If one fails, all rows are as they were.
        """
        return launch(partial(self._advance, rows), self._device)

    def end(self, row: LoopRow, stage: str) -> dict[str, Any]:
        """Return what the blocks after the loop take.

        Args:
            row: all its steps are done.
            stage: the name of the stage, for messages.

        Raises:
            NonFiniteLatent: the latents hold NaN or infinity.
        """
        check_finite(row.loop_state.latents, stage.upper())
        self._division.loop.set_block_state(row.state, row.loop_state)
        return {name: row.state.get(name) for name in self._division.handed_over}

    def _own_components(self, guidance_scale: float) -> Any:
        components = copy.copy(self._pipeline)
        components.scheduler = copy.deepcopy(self._pipeline.scheduler)
        if getattr(self._pipeline, "guider", None) is not None:
            # At a scale of 1 a guider predicts once; disabled ones may be enabled by blocks.
            scale = max(1.0, guidance_scale)
            components.guider = self._pipeline.guider.new(guidance_scale=scale, enabled=True)
        return components

    @torch.no_grad()
    def _advance(self, rows: Sequence[LoopRow]) -> None:
        draws = [row.generator.get_state() for row in rows]
        try:
            done = [self._stepped(row) for row in rows]
        except BaseException:
            for row, drawn in zip(rows, draws, strict=True):
                row.generator.set_state(drawn)
            raise
        for row, (components, loop_state) in zip(rows, done, strict=True):
            row.components, row.loop_state = components, loop_state
            row.step += 1

    def _stepped(self, row: LoopRow) -> tuple[Any, Any]:
        """Return a row's components and state after its next step; the row itself stays."""
        components = copy.copy(row.components)
        components.scheduler = copy.deepcopy(row.components.scheduler)
        time = row.loop_state.timesteps[row.step]
        loop_state = copy.copy(row.loop_state)
        _, loop_state = self._division.loop.loop_step(components, loop_state, i=row.step, t=time)
        return components, loop_state
