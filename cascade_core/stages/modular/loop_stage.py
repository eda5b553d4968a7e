"""What the stages with a modular loop have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Self

import torch

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.checkpoints.weights import Placement, free_cached_memory, model_ref
from cascade_core.conditioning.text import PromptLimit
from cascade_core.errors import HandoffInvalid
from cascade_core.handoff import ModelRef
from cascade_core.images.pixels import Rgb
from cascade_core.operations.fields import MIN_SIDE_PX
from cascade_core.request import GenerationRequest
from cascade_core.stages.base import DrawOutput, StageDefaults, Warnings
from cascade_core.stages.cuda_step import CudaStep
from cascade_core.stages.modular.blocks import divide
from cascade_core.stages.modular.components import build_pipeline
from cascade_core.stages.modular.decode import LatentDecoder
from cascade_core.stages.modular.loop import LoopRow, ModularLoop
from cascade_core.stages.modular.previews import LoopPreviewer
from cascade_core.stages.modular.recipes import Recipe, recipe_of
from cascade_core.stages.tensors import check_origin, named_tensors, to_preview
from cascade_core.tensor_handoff import NamedTensors

_WARM_UP_STEPS: Final = 2
"""Some schedulers have no times for one step alone."""


class LoopStage(StageDefaults, ABC):
    """Text encoders and loop of a modular pipeline; see :class:`cascade_core.stages.base.Stage`.

    Rows share no step: each has a state of its own that no other row can be joined to. They take
    turns.

    Args:
        model: the origin of its latents.
        loop: of the pipeline.
        device: where it computes.

    Attributes:
        previewer: draws the latents small; None: no previews.
    """

    name: ClassVar[str]
    recipes: ClassVar[Mapping[str, Recipe]]

    def __init__(self, model: ModelRef, loop: ModularLoop, device: torch.device) -> None:
        self._model = model
        self._loop = loop
        self._device = device
        self.previewer: LoopPreviewer | None = None

    @classmethod
    def load(
        cls, checkpoint: Checkpoint, placement: Placement, *, with_previews: bool = True
    ) -> Self:
        """Load text encoders and denoiser; for previews also the decoder, which is freed again.

        Raises:
            ModelUnavailable: files are missing or wrong.
            SettingsInvalid: the device is not there.
        """
        place = placement.resolve()
        recipe = recipe_of(checkpoint.family, cls.recipes)
        division = divide(recipe)
        pipeline = build_pipeline(
            division.until_loop, checkpoint, place, prefix=recipe.prefix, shapes=("vae",)
        )
        stage = cls(model_ref(checkpoint), ModularLoop(division, pipeline, place[0]), place[0])
        if with_previews:
            row = stage.small_row()
            stage.previewer = LoopPreviewer.fit(division, row, checkpoint, place, recipe.prefix)
        return stage

    @classmethod
    def load_warnings(cls, checkpoint: Checkpoint) -> Warnings:
        """Return what warns of prompts that are longer than CLIP reads, if nothing else reads them.

        Raises:
            ModelUnavailable: files are missing or wrong.
        """
        recipe = recipe_of(checkpoint.family, cls.recipes)
        if recipe.clip is None:
            return super().load_warnings(checkpoint)
        names = (recipe.prefix + part + recipe.clip for part in ("tokenizer", "text_encoder"))
        limit = PromptLimit.load(checkpoint, *names)
        return lambda request, _source: limit.warnings(request)

    @staticmethod
    def load_output_drawer(checkpoint: Checkpoint, device: str) -> DrawOutput:
        """Load the decoder, which draws finished latents whole; they are shown small.

        Raises:
            ModelUnavailable: files are missing or wrong.
        """
        decoder = LatentDecoder.load(checkpoint, Placement(device))

        def draw(latent: NamedTensors) -> Rgb:
            return to_preview(decoder.decode(latent), latent.request.height, latent.request.width)

        return draw

    @abstractmethod
    def small_row(self) -> LoopRow:
        """Return a row of the smallest picture, guided, without a text."""

    def warm_up(self) -> None:
        """Do the steps of a small row; there is nothing to measure, as rows share no step."""
        row = self.small_row()
        while row.step < row.steps:
            self.advance([row])
        self.preview(row)
        self.result(row)

    def advance(self, rows: Sequence[LoopRow]) -> CudaStep | None:
        """Do one step of every row, one after the other."""
        return self._loop.advance(rows)

    def result(self, row: Any) -> NamedTensors:
        """Return the latents, and what the decoding needs beside them.

        Raises:
            NonFiniteLatent: the model answered NaN or infinity.
        """
        return NamedTensors(
            made_by=self.name,
            tensors=named_tensors(self._loop.end(row, self.name)),
            model=self._model,
            request=row.request,
        )

    def preview(self, row: Any) -> Rgb | None:
        """Return a small picture of the predicted latents, or None without a previewer."""
        return None if self.previewer is None else self.previewer.draw(row)

    def free_memory(self) -> None:
        """Free the device's cached memory."""
        free_cached_memory(self._device)

    def _check_source(self, source: NamedTensors, made_by: str, request: GenerationRequest) -> None:
        """Check that latents are those of a stage, of this model and of the request's size.

        Raises:
            ModelMismatch: other weights made them.
            HandoffInvalid: they are of another stage or size.
        """
        check_origin(source.model, self._model)
        width, height = source.request.width, source.request.height
        if source.made_by != made_by or (width, height) != (request.width, request.height):
            raise HandoffInvalid(f"the latent is of stage {source.made_by}, {width}x{height} px")


def small_request() -> GenerationRequest:
    """Return a request of guided steps without a text, of the smallest picture."""
    return GenerationRequest(
        prompt="",
        width=MIN_SIDE_PX,
        height=MIN_SIDE_PX,
        seed=0,
        decoder_seed=0,
        steps=_WARM_UP_STEPS,
        decoder_steps=_WARM_UP_STEPS,
        guidance_scale=2.0,
        decoder_guidance_scale=2.0,
    )
