"""The last stage of a modular model: decodes latents to pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch

from cascade_core.checkpoints.checkpoint import Checkpoint
from cascade_core.checkpoints.weights import Placement, free_cached_memory, model_ref
from cascade_core.errors import HandoffInvalid, Internal
from cascade_core.handoff import ModelRef
from cascade_core.images.pixels import Rgb
from cascade_core.request import GenerationRequest
from cascade_core.stages.base import StageDefaults
from cascade_core.stages.modular.blocks import divide
from cascade_core.stages.modular.components import build_pipeline
from cascade_core.stages.modular.recipes import DENOISING, REFINING, recipe_of
from cascade_core.stages.tensors import check_finite, check_origin, from_handoff, to_pixels
from cascade_core.tensor_handoff import NamedTensors


class LatentDecoder:
    """The blocks after a loop.

    Args:
        pipeline: of these blocks.
        names: of the tensors that they take.
        place: device and dtype.
    """

    def __init__(
        self, pipeline: Any, names: tuple[str, ...], place: tuple[torch.device, torch.dtype]
    ) -> None:
        self._pipeline = pipeline
        self._taken = frozenset(pipeline.blocks.input_names)
        self._names = names
        self.device, self._dtype = place

    @classmethod
    def load(cls, checkpoint: Checkpoint, placement: Placement) -> Self:
        """Load the decoder of a model.

        Raises:
            ModelUnavailable: files are missing or wrong.
            SettingsInvalid: the device is not there.
        """
        place = placement.resolve()
        recipes = REFINING if checkpoint.family in REFINING else DENOISING
        recipe = recipe_of(checkpoint.family, recipes)
        division = divide(recipe)
        pipeline = build_pipeline(division.after_loop, checkpoint, place, prefix=recipe.prefix)
        return cls(pipeline, division.handed_over, place)

    def check(self, latent: NamedTensors) -> None:
        """Check that all tensors are there.

        Raises:
            HandoffInvalid: one is missing.
        """
        for name in self._names:
            latent.tensor(name)

    @torch.no_grad()
    def decode(self, latent: NamedTensors) -> torch.Tensor:
        """Return the picture, (3, H, W) from 0 to 1.

        Raises:
            NonFiniteLatent: the decoder answered NaN or infinity.
        """
        given = {name: self._placed(latent, name) for name in self._names}
        size = {"height": latent.request.height, "width": latent.request.width}
        inputs = {name: value for name, value in {**size, **given}.items() if name in self._taken}
        rgb_bchw: torch.Tensor = self._pipeline(**inputs, output_type="pt", output="images")
        check_finite(rgb_bchw, ModularDecode.name.upper())
        return rgb_bchw[0]

    def _placed(self, latent: NamedTensors, name: str) -> torch.Tensor:
        tensor = latent.tensor(name)
        dtype = torch.int64 if tensor.dtype == "int64" else self._dtype
        return from_handoff(tensor, self.device, dtype)


@dataclass(slots=True, eq=False)
class DecodeRow:
    """Latents before their one step, pixels after it."""

    latent: NamedTensors
    pixels_hwc: Rgb | None = None

    @property
    def step(self) -> int:
        """Steps done, 0 or 1."""
        return int(self.pixels_hwc is not None)

    @property
    def steps(self) -> int:
        """Always 1."""
        return 1

    @property
    def bucket(self) -> tuple[int, ...]:
        """The latents' shape."""
        return self.latent.tensor("latents").shape[1:]


class ModularDecode(StageDefaults):
    """Makes pixels of latents; see :class:`cascade_core.stages.base.Stage`.

    Args:
        model: the origin of the latents that it takes.
        made_by: the stage that makes them.
        decoder: of the model.
    """

    name = "a"

    def __init__(self, model: ModelRef, made_by: str, decoder: LatentDecoder) -> None:
        self._model = model
        self._made_by = made_by
        self._decoder = decoder

    @classmethod
    def load(
        cls, checkpoint: Checkpoint, placement: Placement, *, with_previews: bool = True
    ) -> Self:
        """Load the decoder alone; it draws no previews either way.

        Raises:
            ModelUnavailable: files are missing or wrong.
            SettingsInvalid: the device is not there.
        """
        made_by = "r" if checkpoint.family in REFINING else "d"
        return cls(model_ref(checkpoint), made_by, LatentDecoder.load(checkpoint, placement))

    @staticmethod
    def make_task(source: NamedTensors, _request: GenerationRequest) -> NamedTensors:
        """Return the latents, which hold their request."""
        return source

    def admit(self, task: NamedTensors) -> DecodeRow:
        """Take over the latents.

        Raises:
            ModelMismatch: other weights made them.
            HandoffInvalid: they are of another stage, or something is missing.
        """
        check_origin(task.model, self._model)
        if task.made_by != self._made_by:
            raise HandoffInvalid(f"the latent is of stage {task.made_by}, not {self._made_by}")
        self._decoder.check(task)
        return DecodeRow(task)

    def advance(self, rows: Sequence[DecodeRow]) -> None:
        """Decode every row, one by one: a single image fills a GPU.

        Raises:
            NonFiniteLatent: the decoder answered NaN or infinity.
        """
        pictures = [to_pixels(self._decoder.decode(row.latent)) for row in rows]
        for row, pixels_hwc in zip(rows, pictures, strict=True):
            row.pixels_hwc = pixels_hwc

    def result(self, row: DecodeRow) -> Rgb:
        """Return the image, (H, W, 3) uint8."""
        if row.pixels_hwc is None:
            raise Internal("the row is not decoded yet")
        return row.pixels_hwc

    def preview(self, row: DecodeRow) -> Rgb | None:
        """Return None: its only step makes the image itself."""
        return None

    def warm_up(self) -> None:
        """Do nothing: only the stage before knows the shape of its latents."""

    def free_memory(self) -> None:
        """Free the device's cached memory."""
        free_cached_memory(self._decoder.device)
